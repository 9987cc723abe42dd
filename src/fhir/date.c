/* fhir/date.c -- reads what is there and takes the rest as the span it leaves open. */
#include "fhir/date.h"

#include <stdio.h>

#define SECOND INT64_C(1000000)
#define DAY    (86400 * SECOND)

/* Days since 1970-01-01 of the proleptic Gregorian calendar: years are counted from
 * March, so that the leap day is the last of its year. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = year - (month <= 2), era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int days_in(int64_t year, int64_t month)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Takes `n` digits off the front, within [low, high]. */
static bool take(slice *s, size_t n, int64_t low, int64_t high, int64_t *out)
{
    int64_t v = 0;

    if (s->len < n) return false;
    for (size_t i = 0; i < n; i++) {
        if (s->ptr[i] < '0' || s->ptr[i] > '9') return false;
        v = v * 10 + (s->ptr[i] - '0');
    }
    *s = slice_from(*s, n);
    *out = v;
    return v >= low && v <= high;
}

static bool take_char(slice *s, char c)
{
    if (s->len == 0 || s->ptr[0] != c) return false;
    *s = slice_from(*s, 1);
    return true;
}

/* Digits behind the point: to microseconds, and how much the last one stands for. */
static bool take_fraction(slice *s, int64_t *us, int64_t *unit)
{
    int64_t digit;

    *us = 0;
    *unit = SECOND;
    while (s->len > 0 && s->ptr[0] >= '0' && s->ptr[0] <= '9') {
        if (!take(s, 1, 0, 9, &digit)) return false;
        if (*unit == 1) continue;        /* finer than we count */
        *unit /= 10;
        *us += digit * *unit;
    }
    return *unit < SECOND;
}

static bool take_offset(slice *s, int64_t *us)
{
    int64_t hours, minutes;
    bool east;

    *us = 0;
    if (s->len == 0 || take_char(s, 'Z')) return true;
    east = s->ptr[0] == '+';
    if (!take_char(s, east ? '+' : '-')) return false;
    if (!take(s, 2, 0, 14, &hours) || !take_char(s, ':') || !take(s, 2, 0, 59, &minutes)) return false;
    *us = (hours * 60 + minutes) * 60 * SECOND * (east ? 1 : -1);
    return true;
}

/* The time behind the "T". 60 is a leap second and taken as the next minute's first. */
static bool take_time(slice *s, int64_t *from, int64_t *unit)
{
    int64_t hour, minute, second = 0, fraction = 0, offset;

    if (!take(s, 2, 0, 23, &hour) || !take_char(s, ':') || !take(s, 2, 0, 59, &minute)) return false;
    *unit = 60 * SECOND;
    if (take_char(s, ':')) {
        if (!take(s, 2, 0, 60, &second)) return false;
        *unit = SECOND;
        if (take_char(s, '.') && !take_fraction(s, &fraction, unit)) return false;
    }
    if (!take_offset(s, &offset)) return false;
    *from += ((hour * 60 + minute) * 60 + second) * SECOND + fraction - offset;
    return true;
}

bool fhir_date_parse(slice text, fhir_span *out)
{
    int64_t year, month, day, unit;

    if (!take(&text, 4, 1, 9999, &year)) return false;
    if (text.len == 0) {
        *out = (fhir_span){ days_of(year, 1, 1) * DAY, days_of(year + 1, 1, 1) * DAY };
        return true;
    }
    if (!take_char(&text, '-') || !take(&text, 2, 1, 12, &month)) return false;
    if (text.len == 0) {
        *out = (fhir_span){ days_of(year, month, 1) * DAY,
                            (days_of(year, month, 1) + days_in(year, month)) * DAY };
        return true;
    }
    if (!take_char(&text, '-') || !take(&text, 2, 1, days_in(year, month), &day)) return false;
    out->from_us = days_of(year, month, day) * DAY;
    unit = DAY;
    if (text.len > 0 && (!take_char(&text, 'T') || !take_time(&text, &out->from_us, &unit))) return false;
    out->to_us = out->from_us + unit;
    return text.len == 0;
}

char *fhir_instant(int64_t us, char out[FHIR_INSTANT_LEN + 1])
{
    int64_t days = us / DAY, rest = us % DAY, year, month, day, ms;

    if (rest < 0) {
        days--;
        rest += DAY;
    }
    ms = rest / 1000;
    /* The year by its mean length, at most one too high; then month and day by counting. */
    year = 1970 + (days >= 0 ? days : days - 365) * 400 / 146097;
    while (days_of(year + 1, 1, 1) <= days) year++;
    while (days_of(year, 1, 1) > days) year--;
    for (month = 12; days_of(year, month, 1) > days; month--) continue;
    day = days - days_of(year, month, 1) + 1;
    if (year < 0 || year > 9999) year = 0;      /* outside of what FHIR can say */
    (void)snprintf(out, FHIR_INSTANT_LEN + 1, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
                   (unsigned)year % 10000u, (unsigned)month % 100u, (unsigned)day % 100u,
                   (unsigned)(ms / 3600000) % 100u, (unsigned)(ms / 60000 % 60), (unsigned)(ms / 1000 % 60),
                   (unsigned)(ms % 1000));
    return out;
}
