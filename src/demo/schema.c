/* demo/schema.c -- sql/demo/store.sql, carried inside of the program. */
#include "demo/schema.h"

__asm__(".pushsection .rodata\n"
        "demo_schema_text:\n"
        ".incbin \"" DEMO_SCHEMA_FILE "\"\n"
        "demo_schema_end:\n"
        ".byte 0\n"
        ".popsection\n");

extern const char demo_schema_text[], demo_schema_end[];

slice demo_schema(void)
{
    return (slice){ demo_schema_text, (size_t)(demo_schema_end - demo_schema_text) };
}
