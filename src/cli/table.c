/* cli/table.c -- rows of text in columns that line up. */
#include "base/buf.h"
#include "cli/admin.h"

#define COLUMNS_MAX 16
#define GAP 2

typedef struct cell {
    struct cell *next;
    slice        text;
    size_t       width;                  /* characters on the screen */
} cell;

struct table {
    arena *mem;
    int    columns, at;
    size_t widths[COLUMNS_MAX];
    cell  *first, *last;
};

/* What came over the network may hold escape sequences: they do not reach the
 * terminal. C1 controls are C2 80 to C2 9F in UTF-8. */
static slice make_safe(arena *mem, slice s)
{
    buf out = buf_in(mem);

    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i], next = i + 1 < s.len ? (unsigned char)s.ptr[i + 1] : 0;
        if (c < ' ' || c == 0x7f) {
            buf_putc(&out, '?');
        } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
            buf_putc(&out, '?');
            i++;
        } else {
            buf_putc(&out, (char)c);
        }
    }
    return buf_slice(&out);
}

void admin_print_text(slice s)
{
    arena mem;

    arena_init(&mem);
    s = make_safe(&mem, s);
    (void)fwrite(s.ptr == NULL ? "" : s.ptr, 1, s.len, stdout);
    arena_free(&mem);
}

table *table_new(arena *mem, const char *const *heads, int columns)
{
    table *t = arena_new(mem, table);

    if (columns > COLUMNS_MAX) die("a table of %d columns", columns);
    t->mem = mem;
    t->columns = columns;
    for (int i = 0; i < columns; i++) table_add(t, slice_of(heads[i]));
    return t;
}

void table_add(table *t, slice text)
{
    cell *c = arena_new(t->mem, cell);

    c->text = make_safe(t->mem, text.len > 0 ? text : slice_lit("-"));
    for (size_t i = 0; i < c->text.len; i++)
        if (((unsigned char)c->text.ptr[i] & 0xc0) != 0x80) c->width++;
    if (c->width > t->widths[t->at]) t->widths[t->at] = c->width;
    t->at = (t->at + 1) % t->columns;
    if (t->last == NULL) t->first = c;
    else t->last->next = c;
    t->last = c;
}

void table_add_int(table *t, int64_t n) { table_add(t, arena_printf(t->mem, "%lld", (long long)n)); }

void table_print(const table *t)
{
    int column = 0;

    for (const cell *c = t->first; c != NULL; c = c->next) {
        bool last = column == t->columns - 1;
        (void)printf("%.*s%*s", (int)c->text.len, c->text.ptr,
                     last ? 0 : (int)(t->widths[column] - c->width + GAP), "");
        if (last) (void)putchar('\n');
        column = last ? 0 : column + 1;
    }
}
