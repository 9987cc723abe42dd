/* script/timezone.c -- time zone files (RFC 8536): the 64-bit block's transitions,
 * and the POSIX TZ rule in the footer for what comes after them. */
#include "script/timezone.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ZONE_FOLDER "/usr/share/zoneinfo/"
#define ZONE_NAME_MAX 64
#define ZONE_FILE_MAX 65536
#define HEADER_LEN 44
#define DAY 86400

/* When a rule changes the clock: day of the year, and seconds after its 00:00. */
typedef struct rule_day {
    enum { DAY_MONTH, DAY_JULIAN, DAY_ZERO } kind;      /* Mm.w.d, Jn (no 29 February), n */
    int     month, week, weekday, day;
    int32_t time;
} rule_day;

typedef struct zone_rule {
    bool     present, has_summer;
    int32_t  standard, summer;           /* seconds east */
    rule_day start, end;                 /* of summer time */
} zone_rule;

typedef struct change {
    int64_t local;                       /* from this local time on … */
    int32_t offset;                      /* … this is the offset */
} change;

struct zone {
    zone    *older;                      /* in the cache */
    char     name[ZONE_NAME_MAX + 1];
    int32_t  first;                      /* before all changes */
    size_t   count;
    zone_rule rule;
    change   changes[];
};

static struct {
    pthread_mutex_t lock;
    zone           *zones;
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- calendar ------------------------------------------------------------------ */

int64_t days_from_civil(int64_t year, int month, int day)
{
    /* Years that begin in March have their leap day at the end. */
    int64_t y = year - (month <= 2), era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool is_leap(int64_t y) { return y % 4 == 0 && (y % 100 != 0 || y % 400 == 0); }

static int64_t year_of(int64_t seconds)
{
    int64_t days = seconds / DAY - (seconds % DAY < 0);
    int64_t year = 1970 + days / 366;    /* at most a few too small or too large */

    while (days_from_civil(year + 1, 1, 1) <= days) year++;
    while (days_from_civil(year, 1, 1) > days) year--;
    return year;
}

/* Seconds from 1970 to the local time that the rule names in `year`. */
static int64_t rule_at(const rule_day *r, int64_t year)
{
    static const int length[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t day;

    if (r->kind == DAY_MONTH) {
        int last = length[r->month - 1] + (r->month == 2 && is_leap(year));
        int64_t first = days_from_civil(year, r->month, 1);
        int weekday = (int)((first % 7 + 7 + 4) % 7);     /* 1970-01-01 was a Thursday */
        int of_month = 1 + (r->weekday - weekday + 7) % 7 + 7 * (r->week - 1);
        while (of_month > last) of_month -= 7;
        day = first + of_month - 1;
    } else {
        day = days_from_civil(year, 1, 1) + r->day;
        if (r->kind == DAY_JULIAN) day += (is_leap(year) && r->day >= 60) - 1;
    }
    return day * DAY + r->time;
}

/* ---- the footer: "CET-1CEST,M3.5.0,M10.5.0/3" ------------------------------------ */

typedef struct footer { const char *at, *end; bool bad; } footer;

static bool take(footer *f, char c)
{
    if (f->at == f->end || *f->at != c) return false;
    f->at++;
    return true;
}

static int take_number(footer *f, int lowest, int highest)
{
    const char *from = f->at;
    int n = 0;

    while (f->at < f->end && *f->at >= '0' && *f->at <= '9' && n < 10000) n = n * 10 + (*f->at++ - '0');
    if (f->at == from || n < lowest || n > highest) f->bad = true;
    return n;
}

static void take_name(footer *f)
{
    const char *from = f->at;

    if (take(f, '<')) {
        while (f->at < f->end && *f->at != '>') f->at++;
        if (!take(f, '>')) f->bad = true;
        return;
    }
    while (f->at < f->end && ((*f->at | 32) >= 'a' && (*f->at | 32) <= 'z')) f->at++;
    if (f->at - from < 3) f->bad = true;
}

/* hh[:mm[:ss]] with a sign; hours up to 167 (RFC 8536, 3.3.1). */
static int32_t take_time(footer *f)
{
    int32_t sign = take(f, '-') ? -1 : 1, seconds;

    if (sign > 0) (void)take(f, '+');
    seconds = take_number(f, 0, 167) * 3600;
    if (take(f, ':')) seconds += take_number(f, 0, 59) * 60;
    if (take(f, ':')) seconds += take_number(f, 0, 59);
    return sign * seconds;
}

static rule_day take_day(footer *f)
{
    rule_day r = { .kind = DAY_ZERO, .month = 1, .time = 7200 };

    if (!take(f, ',')) f->bad = true;
    if (take(f, 'M')) {
        r.kind = DAY_MONTH;
        r.month = take_number(f, 1, 12);
        if (!take(f, '.')) f->bad = true;
        r.week = take_number(f, 1, 5);
        if (!take(f, '.')) f->bad = true;
        r.weekday = take_number(f, 0, 6);
    } else if (take(f, 'J')) {
        r.kind = DAY_JULIAN;
        r.day = take_number(f, 1, 365);
    } else {
        r.day = take_number(f, 0, 365);
    }
    if (take(f, '/')) r.time = take_time(f);
    return r;
}

static bool read_footer(slice text, zone_rule *out)
{
    footer f = { text.ptr, text.ptr + text.len, false };

    *out = (zone_rule){ .present = text.len > 0 };
    if (text.len == 0) return true;
    take_name(&f);
    out->standard = -take_time(&f);      /* POSIX counts westward */
    if (f.at == f.end || f.bad) return !f.bad;
    out->has_summer = true;
    take_name(&f);
    out->summer = out->standard + 3600;
    if (f.at < f.end && *f.at != ',') out->summer = -take_time(&f);
    out->start = take_day(&f);
    if (!f.bad) out->end = take_day(&f);
    return !f.bad && f.at == f.end;
}

/* From which local time on a change from one offset to another counts: a time
 * that is skipped or comes twice still has the offset from before. */
static int64_t counts_from(int64_t utc, int32_t before, int32_t after)
{
    return utc + (before > after ? before : after);
}

static int32_t rule_offset(const zone_rule *r, int64_t local)
{
    if (!r->has_summer) return r->standard;
    int64_t year = year_of(local);
    int64_t start = counts_from(rule_at(&r->start, year) - r->standard, r->standard, r->summer);
    int64_t end = counts_from(rule_at(&r->end, year) - r->summer, r->summer, r->standard);
    bool summer = start < end ? local >= start && local < end : local >= start || local < end;

    return summer ? r->summer : r->standard;
}

/* ---- the file ---------------------------------------------------------------------- */

static uint32_t get32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static int64_t get64(const char *p)
{
    return (int64_t)((uint64_t)get32(p) << 32 | get32(p + 4));
}

typedef struct counts { size_t utc_flags, std_flags, leaps, changes, types, chars; } counts;

static counts get_counts(const char *header)
{
    return (counts){ get32(header + 20), get32(header + 24), get32(header + 28),
                     get32(header + 32), get32(header + 36), get32(header + 40) };
}

/* The bytes of a data block whose times have `width` bytes; the counts are those
 * of a file of limited size, so that nothing can overflow once they are checked. */
static bool block_len(const counts *c, size_t width, size_t limit, size_t *out)
{
    if (c->changes > limit || c->types > limit || c->chars > limit || c->leaps > limit ||
        c->utc_flags > limit || c->std_flags > limit)
        return false;
    *out = c->changes * (width + 1) + c->types * 6 + c->chars + c->leaps * (width + 4) +
           c->std_flags + c->utc_flags;
    return *out <= limit;
}

static err damaged(err_info *why) { return err_set(why, ERR_CONFIG, "damaged time zone file"); }

err zone_read(slice file, zone **out, err_info *why)
{
    size_t skip, len;
    zone_rule rule;

    if (file.len < HEADER_LEN || memcmp(file.ptr, "TZif", 4) != 0)
        return err_set(why, ERR_CONFIG, "no time zone file");
    if (file.ptr[4] < '2') return err_set(why, ERR_CONFIG, "a time zone file of version 1");
    counts c = get_counts(file.ptr);
    if (!block_len(&c, 4, file.len, &skip) || file.len - HEADER_LEN < skip) return damaged(why);
    slice second = slice_from(file, HEADER_LEN + skip);
    if (second.len < HEADER_LEN || memcmp(second.ptr, "TZif", 4) != 0) return damaged(why);
    c = get_counts(second.ptr);
    slice data = slice_from(second, HEADER_LEN);
    if (!block_len(&c, 8, data.len, &len) || data.len < len || c.types == 0) return damaged(why);
    if (c.leaps > 0) return err_set(why, ERR_CONFIG, "a time zone that counts leap seconds");

    slice foot = slice_from(data, len), line;
    if (foot.len < 2 || foot.ptr[0] != '\n') return damaged(why);
    line = slice_cut(slice_from(foot, 1), '\n', &foot);
    if (foot.ptr == NULL || !read_footer(line, &rule)) return damaged(why);

    const char *times = data.ptr, *kinds = times + c.changes * 8, *types = kinds + c.changes;
    zone *z = mem_zalloc(sizeof *z + c.changes * sizeof(change));
    z->rule = rule;
    z->first = (int32_t)get32(types);
    z->count = c.changes;
    int32_t before = z->first;
    for (size_t i = 0; i < c.changes; i++) {
        size_t kind = (unsigned char)kinds[i];
        int32_t after = kind < c.types ? (int32_t)get32(types + kind * 6) : INT32_MAX;
        int64_t at = get64(times + i * 8);
        if (after < -2 * DAY || after > 2 * DAY || at < -((int64_t)1 << 60) || at > (int64_t)1 << 60) {
            free(z);
            return damaged(why);
        }
        z->changes[i] = (change){ counts_from(at, before, after), after };
        /* Changes that follow within hours could swap places in local time. */
        if (i > 0 && z->changes[i].local < z->changes[i - 1].local)
            z->changes[i].local = z->changes[i - 1].local;
        before = after;
    }
    *out = z;
    return ERR_OK;
}

void zone_free(zone *z) { free(z); }

int32_t zone_offset(const zone *z, int64_t local)
{
    size_t low = 0, high = z->count;     /* the number of changes at or before `local` */

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (z->changes[middle].local <= local) low = middle + 1;
        else high = middle;
    }
    if (low == z->count && z->rule.present) return rule_offset(&z->rule, local);
    return low == 0 ? z->first : z->changes[low - 1].offset;
}

static bool name_valid(slice name)
{
    if (name.len == 0 || name.len > ZONE_NAME_MAX || name.ptr[0] == '/') return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i], lower = (char)(c | 32);
        bool word = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9');
        if (!word && (c == '\0' || strchr("_+-/", c) == NULL)) return false;
    }
    return true;
}

static err read_zone_file(const char *name, zone **out, err_info *why)
{
    char path[sizeof ZONE_FOLDER + ZONE_NAME_MAX], *bytes;
    struct stat st;
    ssize_t n = -1;
    int fd;

    (void)snprintf(path, sizeof path, ZONE_FOLDER "%s", name);
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT && access(ZONE_FOLDER, F_OK) != 0)
        return err_set(why, ERR_CONFIG, "timezone '%s': no " ZONE_FOLDER " (install tzdata)", name);
    if (fd < 0)
        return err_set(why, ERR_CONFIG, "timezone '%s': %s", name,
                       errno == ENOENT || errno == ENOTDIR ? "no such IANA zone" : strerror(errno));
    bytes = mem_alloc(ZONE_FILE_MAX);
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size < ZONE_FILE_MAX)
        n = read(fd, bytes, ZONE_FILE_MAX);
    (void)close(fd);
    err e = n < 0 ? err_set(why, ERR_CONFIG, "no such IANA zone")
                  : zone_read((slice){ bytes, (size_t)n }, out, why);
    free(bytes);
    if (e != ERR_OK) (void)err_prefix(why, "timezone '%s'", name);
    return e;
}

err zone_get(slice name, const zone **out, err_info *why)
{
    char text[ZONE_NAME_MAX + 1];
    zone *z = NULL;
    err e = ERR_OK;

    if (!name_valid(name))
        return err_set(why, ERR_CONFIG, "timezone '%s': no IANA zone name, such as Europe/Berlin",
                       slice_cstr(name, text, sizeof text));
    (void)slice_cstr(name, text, sizeof text);
    (void)pthread_mutex_lock(&cache.lock);
    for (z = cache.zones; z != NULL && strcmp(z->name, text) != 0;) z = z->older;
    if (z == NULL) {
        e = read_zone_file(text, &z, why);
        if (z != NULL) {                 /* set only when all went well */
            memcpy(z->name, text, sizeof text);
            z->older = cache.zones;
            cache.zones = z;
        }
    }
    (void)pthread_mutex_unlock(&cache.lock);
    *out = z;
    return e;
}
