/* tests/fuzz/hl7_path.c -- a path that is taken is written so that it reads the same. */
#include <stdlib.h>

#include "hl7/path.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void insist(bool holds)
{
    if (!holds) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice text = { (const char *)data, size };
    err_info why = { ERR_OK, "" };
    arena mem = { 0 };
    buf out = buf_in(&mem);
    hl7_path p, again;

    if (hl7_path_parse(text, &p, &why) == ERR_OK) {
        hl7_path_write(&out, &p);
        insist(hl7_path_parse(buf_slice(&out), &again, NULL) == ERR_OK);
        insist(memcmp(&p, &again, sizeof p) == 0);
        insist(out.len <= size);
    } else {
        insist(why.code == ERR_PATH && why.text[0] != 0);
    }
    if (hl7_path_parse_field(text, "PID", &p, &why) == ERR_OK) insist(p.field > 0 && p.occ == 1);
    arena_free(&mem);
    return 0;
}
