/* demo/capability.h -- the CapabilityStatement at /metadata. */
#ifndef DEMO_CAPABILITY_H
#define DEMO_CAPABILITY_H

#include "base/buf.h"

slice demo_capability(arena *mem, slice base);

#endif
