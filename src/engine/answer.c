/* engine/answer.c -- from what became of a message to acknowledgement messages. */
#include "base/clock.h"
#include "base/ulid.h"
#include "engine/answer.h"

static void put_ack(buf *out, const hl7_head *about, const answer *a, hl7_ack_code code)
{
    char when[CLOCK_TEXT_LEN + 1], hl7_time[20];
    id own = id_new("");
    hl7_ack ack = {
        .code = code, .error = a->kind == ANSWER_POSITIVE ? HL7_ERROR_NONE : a->error,
        .location = a->location, .text = a->text,
        .control_id = slice_from(id_slice(&own), ULID_LEN - 20),     /* ST of 20 up to 2.6 */
        .time = { hl7_time, 0 },
    };
    size_t n = 0;

    /* 2026-04-18T09:30:00.… -> 20260418093000+0000 */
    (void)clock_text(clock_real_us(), when);
    for (size_t i = 0; i < 19; i++)
        if (when[i] >= '0' && when[i] <= '9') hl7_time[n++] = when[i];
    memcpy(hl7_time + n, "+0000", sizeof "+0000");
    ack.time.len = n + 5;
    hl7_ack_write(out, about, &ack);
}

static bool is_enhanced(ack_mode mode, const hl7_head *about)
{
    if (mode != ACK_MODE_AUTO) return mode == ACK_MODE_ENHANCED;
    return about->accept_ack.len > 0 || about->application_ack.len > 0;
}

/* Where only one of MSH-15 and MSH-16 is valued, the other means NE (2.9.2). A connector that is
 * set to enhanced mode gives CA to who asks for nothing. */
static bool accept_wanted(ack_mode mode, const hl7_head *about, bool positive)
{
    if (!is_enhanced(mode, about)) return false;
    return about->accept_ack.len > 0 ? hl7_ack_wanted(about->accept_ack, positive) : about->application_ack.len == 0;
}

static bool application_wanted(ack_mode mode, const hl7_head *about, bool positive)
{
    if (!is_enhanced(mode, about)) return true;
    return about->application_ack.len > 0 && hl7_ack_wanted(about->application_ack, positive);
}

size_t answer_write(buf *out, slice between, ack_mode mode, const hl7_head *about, const answer *a)
{
    static const hl7_ack_code commit[] = { HL7_CA, HL7_CR, HL7_CE };
    bool positive = a->kind == ANSWER_POSITIVE, accepted = accept_wanted(mode, about, positive);

    if (accepted) put_ack(out, about, a, commit[a->kind]);
    return accepted + (positive || !accepted ? answer_application(out, between, mode, about, a) : 0);
}

size_t answer_accept(buf *out, ack_mode mode, const hl7_head *about)
{
    static const answer good = { .kind = ANSWER_POSITIVE };

    if (!accept_wanted(mode, about, true)) return 0;
    put_ack(out, about, &good, HL7_CA);
    return 1;
}

bool answer_waits(ack_mode mode, const hl7_head *about)
{
    return application_wanted(mode, about, true) || application_wanted(mode, about, false);
}

size_t answer_application(buf *out, slice between, ack_mode mode, const hl7_head *about, const answer *a)
{
    static const hl7_ack_code application[] = { HL7_AA, HL7_AR, HL7_AE };

    if (!application_wanted(mode, about, a->kind == ANSWER_POSITIVE)) return 0;
    if (out->len > 0) buf_put(out, between);
    put_ack(out, about, a, application[a->kind]);
    return 1;
}
