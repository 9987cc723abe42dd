/* script/code_table.h -- code tables: from a pack's tables/NAME.csv, and the rows
 * that a tenant lays over them. */
#ifndef SCRIPT_CODE_TABLE_H
#define SCRIPT_CODE_TABLE_H

#include "base/json.h"

typedef struct code_cell { slice column, text; } code_cell;

typedef struct code_row {
    slice            code;
    const code_cell *cells;              /* without the empty ones */
    size_t           count;
    bool             removed;            /* an overlay takes the row away */
} code_row;

typedef struct code_table {
    slice     name;
    code_row *rows;                      /* sorted by code */
    size_t    count;
} code_table;

typedef struct code_table_set { code_table *tables; size_t count; } code_table_set;

/* Reads CSV: the first record has the column names, the first column the code.
 * The table borrows from `text`. ERR_SCRIPT names the line. */
must_check err code_table_read(arena *mem, slice name, slice text, code_table *out, err_info *why);

/* Reads an overlay: {"marital":{"Z":{"to":"UNK","display":"…"},"X":null}}; a null
 * takes the row away. Borrows from `text`. ERR_CONFIG names table and code. */
must_check err code_overlay_read(arena *mem, slice text, code_table_set *out, err_info *why);

/* Writes a table as a member of an overlay's object, without a comma. */
void code_overlay_write(buf *out, const code_table *t);

const code_table *code_table_named(const code_table_set *set, slice name);    /* NULL: none */
const code_row *code_row_find(const code_table *t, slice code);               /* NULL: none */

#endif
