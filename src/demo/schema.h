/* demo/schema.h -- the text of sql/demo/store.sql. */
#ifndef DEMO_SCHEMA_H
#define DEMO_SCHEMA_H

#include "base/base.h"

slice demo_schema(void);

#endif
