/* script/code_table.c -- reading code tables, sorted for the binary search. */
#include "script/code_table.h"

#include <stdlib.h>

#include "script/csv.h"

static int by_code(const void *a, const void *b)
{
    return slice_cmp(((const code_row *)a)->code, ((const code_row *)b)->code);
}

/* Sorts the rows; the first code that occurs twice, or NULL. */
static const code_row *sort_rows(code_table *t)
{
    if (t->count > 1) qsort(t->rows, t->count, sizeof *t->rows, by_code);
    for (size_t i = 1; i < t->count; i++)
        if (slice_eq(t->rows[i - 1].code, t->rows[i].code)) return &t->rows[i];
    return NULL;
}

static err check_columns(const slice *columns, size_t count, err_info *why)
{
    if (count == 0) return err_set(why, ERR_SCRIPT, "empty: no column names");
    for (size_t i = 0; i < count; i++) {
        if (columns[i].len == 0) return err_set(why, ERR_SCRIPT, "line 1: column %zu has no name", i + 1);
        for (size_t k = 0; k < i; k++)
            if (slice_eq(columns[i], columns[k]))
                return err_set(why, ERR_SCRIPT, "line 1: column %zu has the name of column %zu", i + 1,
                               k + 1);
    }
    return ERR_OK;
}

static size_t count_lines(slice text)
{
    size_t lines = 1;

    for (size_t i = 0; i < text.len; i++) lines += text.ptr[i] == '\n';
    return lines;
}

err code_table_read(arena *mem, slice name, slice text, code_table *out, err_info *why)
{
    slice columns[CSV_FIELDS_MAX], fields[CSV_FIELDS_MAX];
    size_t column_count, n;
    csv c;

    csv_open(&c, text);
    err e = csv_next(&c, mem, columns, &column_count, why);
    if (e != ERR_OK || (e = check_columns(columns, column_count, why)) != ERR_OK) return e;
    *out = (code_table){ name, arena_alloc(mem, count_lines(text) * sizeof(code_row)), 0 };
    while ((e = csv_next(&c, mem, fields, &n, why)) == ERR_OK && n > 0) {
        if (n > column_count)
            return err_set(why, ERR_SCRIPT, "line %zu: %zu fields, but %zu columns", c.line, n, column_count);
        if (fields[0].len == 0) return err_set(why, ERR_SCRIPT, "line %zu: no code", c.line);
        code_cell *cells = arena_array(mem, code_cell, n);
        code_row *row = &out->rows[out->count++];
        *row = (code_row){ .code = fields[0], .cells = cells };
        for (size_t i = 0; i < n; i++)
            if (fields[i].len > 0) cells[row->count++] = (code_cell){ columns[i], fields[i] };
    }
    if (e != ERR_OK) return e;
    const code_row *twice = sort_rows(out);
    if (twice != NULL)
        return err_set(why, ERR_SCRIPT, "two rows with the code '%.*s'", (int)twice->code.len,
                       twice->code.ptr);
    return ERR_OK;
}

static err overlay_row(arena *mem, const json *v, code_row *out, err_info *why)
{
    *out = (code_row){ .code = v->key, .removed = json_is(v, JSON_NULL) };
    if (out->removed) return ERR_OK;
    if (!json_is(v, JSON_OBJECT)) return err_set(why, ERR_CONFIG, "a row is an object, or null to remove it");
    code_cell *cells = arena_array(mem, code_cell, v->count);
    out->cells = cells;
    for (const json *cell = v->child; cell != NULL; cell = cell->next) {
        if (!json_is(cell, JSON_STRING) && !json_is(cell, JSON_NUMBER))
            return err_set(why, ERR_CONFIG, "column '%.*s' is no text", (int)cell->key.len, cell->key.ptr);
        if (cell->text.len > 0) cells[out->count++] = (code_cell){ cell->key, cell->text };
    }
    return ERR_OK;
}

static err overlay_table(arena *mem, const json *v, code_table *out, err_info *why)
{
    if (!json_is(v, JSON_OBJECT)) return err_set(why, ERR_CONFIG, "a table is an object of code to row");
    *out = (code_table){ v->key, arena_array(mem, code_row, v->count), 0 };
    for (const json *row = v->child; row != NULL; row = row->next) {
        if (overlay_row(mem, row, &out->rows[out->count++], why) != ERR_OK)
            return err_prefix(why, "'%.*s'", (int)row->key.len, row->key.ptr);
    }
    (void)sort_rows(out);                /* JSON has no key twice */
    return ERR_OK;
}

err code_overlay_read(arena *mem, slice text, code_table_set *out, err_info *why)
{
    json *v;

    *out = (code_table_set){ 0 };
    if (text.len == 0) return ERR_OK;
    err e = json_parse(mem, text, &v, why);
    if (e != ERR_OK) return err_prefix(why, "tables");
    if (!json_is(v, JSON_OBJECT)) return err_set(why, ERR_CONFIG, "tables: not an object");
    out->tables = arena_array(mem, code_table, v->count);
    for (const json *t = v->child; t != NULL; t = t->next)
        if (overlay_table(mem, t, &out->tables[out->count++], why) != ERR_OK)
            return err_prefix(why, "tables: '%.*s'", (int)t->key.len, t->key.ptr);
    return ERR_OK;
}

void code_overlay_write(buf *out, const code_table *t)
{
    buf_json(out, t->name);
    buf_puts(out, ":{");
    for (size_t i = 0; i < t->count; i++) {
        const code_row *row = &t->rows[i];
        if (i > 0) buf_putc(out, ',');
        buf_json(out, row->code);
        buf_puts(out, row->removed ? ":null" : ":{");
        for (size_t k = 0; k < row->count; k++) {
            if (k > 0) buf_putc(out, ',');
            buf_json(out, row->cells[k].column);
            buf_putc(out, ':');
            buf_json(out, row->cells[k].text);
        }
        if (!row->removed) buf_putc(out, '}');
    }
    buf_putc(out, '}');
}

const code_table *code_table_named(const code_table_set *set, slice name)
{
    for (size_t i = 0; i < set->count; i++)
        if (slice_eq(set->tables[i].name, name)) return &set->tables[i];
    return NULL;
}

const code_row *code_row_find(const code_table *t, slice code)
{
    size_t low = 0, high = t->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = slice_cmp(t->rows[middle].code, code);
        if (order == 0) return &t->rows[middle];
        if (order < 0) low = middle + 1;
        else high = middle;
    }
    return NULL;
}
