/* script/edit.h -- a message with some of its values replaced: msg:copy. */
#ifndef SCRIPT_EDIT_H
#define SCRIPT_EDIT_H

#include "hl7/parse.h"

typedef struct message_edit {
    arena         *mem;
    const hl7_msg *msg;                  /* as it stands now */
} message_edit;

/* Sets what `path` names to `text`, escaped; missing fields, repetitions and
 * components before it are added empty. ERR_PATH when the path names no field, or
 * a segment that the message does not have, or MSH-1 or MSH-2. */
must_check err message_set(message_edit *e, const hl7_path *path, slice text, err_info *why);
must_check err message_set_raw(message_edit *e, const hl7_path *path, slice raw, err_info *why);

/* The text is UTF-8: MSH-18 says so if it goes beyond ASCII. */
must_check err message_declare_utf8(message_edit *e, err_info *why);

#endif
