/* demo/schema.c -- sql/demo/store.sql, carried inside of the program. */
#include "demo/schema.h"

__asm__(".pushsection .rodata\n"
        "demo_schema_text:\n"
        ".incbin \"" DEMO_SCHEMA_FILE "\"\n"
        "demo_schema_end:\n"
        ".balign 8\n"
        "demo_schema_size:\n"
        ".quad demo_schema_end - demo_schema_text\n"
        ".popsection\n");

extern const char demo_schema_text[];
extern const uint64_t demo_schema_size;

slice demo_schema(void)
{
    return (slice){ demo_schema_text, demo_schema_size };
}
