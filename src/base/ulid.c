/* base/ulid.c -- monotonic ULIDs: the random part counts up while the
 * millisecond stands still. */
#include "base/ulid.h"

#include <pthread.h>
#include <sys/random.h>

#include "base/clock.h"

static const char alphabet[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

static struct {
    pthread_mutex_t lock;
    uint64_t        ms;
    uint64_t        low;                 /* the lower 64 random bits */
    uint32_t        high;                /* the upper 16 */
} last = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void draw_random(void)
{
    unsigned char bytes[10];

    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) die("getrandom failed");
    memcpy(&last.low, bytes, 8);
    last.high = (uint32_t)(bytes[8] << 8 | bytes[9]) & 0x7fff;   /* room to count up */
}

id id_new(const char *prefix)
{
    size_t n = strlen(prefix);
    uint64_t ms = (uint64_t)(clock_real_us() / 1000), low;
    uint32_t high;
    id out;

    (void)pthread_mutex_lock(&last.lock);
    if (ms > last.ms) {
        last.ms = ms;
        draw_random();
    } else if (++last.low == 0) {
        last.high++;
    }
    ms = last.ms;
    low = last.low;
    high = last.high;
    (void)pthread_mutex_unlock(&last.lock);

    if (n + ULID_LEN > ID_MAX) die("id prefix too long: %s", prefix);
    memcpy(out.text, prefix, n);
    char *at = out.text + n + ULID_LEN;
    *at = '\0';
    for (int i = 0; i < 16; i++) {       /* 80 bits, 5 at a time */
        *--at = alphabet[low & 31];
        low = low >> 5 | (uint64_t)(high & 31) << 59;
        high >>= 5;
    }
    for (int i = 0; i < 10; i++, ms >>= 5) *--at = alphabet[ms & 31];
    return out;
}

bool id_parse(slice text, const char *prefix, id *out)
{
    slice head = slice_of(prefix);

    if (head.len + ULID_LEN > ID_MAX || text.len != head.len + ULID_LEN) return false;
    if (!slice_starts(text, head)) return false;
    for (size_t i = head.len; i < text.len; i++)
        if (text.ptr[i] == '\0' || strchr(alphabet, text.ptr[i]) == NULL) return false;
    (void)slice_cstr(text, out->text, sizeof out->text);
    return true;
}
