/* script/hl7_time.c -- reads HL7 dates and times and writes them as FHIR does. */
#include "script/hl7_time.h"

#include <stdio.h>

#define FRACTION_MAX 9                   /* HL7 has four digits, FHIR up to nine */

static int digit_at(slice s, size_t i)
{
    return i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9' ? s.ptr[i] - '0' : -1;
}

/* The number of `count` digits at the front of `rest`, taken off; -1 if there are fewer. */
static int take_digits(slice *rest, size_t count)
{
    int n = 0;

    for (size_t i = 0; i < count; i++) {
        int d = digit_at(*rest, i);
        if (d < 0) return -1;
        n = n * 10 + d;
    }
    *rest = slice_from(*rest, count);
    return n;
}

bool hl7_offset_read(slice text, int *minutes)
{
    if (text.len != 5 || (text.ptr[0] != '+' && text.ptr[0] != '-')) return false;
    slice rest = slice_from(text, 1);
    int hours = take_digits(&rest, 2), rest_minutes = take_digits(&rest, 2);
    if (hours < 0 || rest_minutes < 0 || rest_minutes > 59 || hours * 60 + rest_minutes > 14 * 60)
        return false;
    *minutes = (text.ptr[0] == '-' ? -1 : 1) * (hours * 60 + rest_minutes);
    return true;
}

static int month_length(int year, int month)
{
    static const int length[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return length[month - 1] + (month == 2 && leap);
}

/* HH[MM[SS[.S…]]] from the front of `rest`; leaves what does not belong to it. */
static const char *take_clock(slice *rest, hl7_time *t)
{
    if ((t->hour = take_digits(rest, 2)) < 0) return "not digits where the hour should be";
    if (t->hour > 23) return "no such hour";
    if (digit_at(*rest, 0) < 0) return NULL;
    if ((t->minute = take_digits(rest, 2)) < 0) return "not digits where the minute should be";
    if (t->minute > 59) return "no such minute";
    if (digit_at(*rest, 0) < 0) return NULL;
    if ((t->second = take_digits(rest, 2)) < 0) return "not digits where the second should be";
    if (t->second > 60) return "no such second";          /* 60: a leap second, in FHIR too */
    if (rest->len == 0 || rest->ptr[0] != '.') return NULL;
    size_t n = 1;
    while (digit_at(*rest, n) >= 0) n++;
    if (n == 1 || n > FRACTION_MAX + 1) return "not one to nine digits after the second's point";
    t->fraction = (slice){ rest->ptr + 1, n - 1 };
    *rest = slice_from(*rest, n);
    return NULL;
}

static const char *take_date(slice *rest, hl7_time *t)
{
    if ((t->year = take_digits(rest, 4)) < 0) return "not four digits where the year should be";
    if (t->year == 0) return "no such year";
    if (digit_at(*rest, 0) < 0) return NULL;
    if ((t->month = take_digits(rest, 2)) < 0) return "not digits where the month should be";
    if (t->month < 1 || t->month > 12) return "no such month";
    if (digit_at(*rest, 0) < 0) return NULL;
    if ((t->day = take_digits(rest, 2)) < 0) return "not digits where the day should be";
    if (t->day < 1 || t->day > month_length(t->year, t->month)) return "no such day";
    return NULL;
}

const char *hl7_time_read(slice text, hl7_time *out)
{
    const char *wrong;

    *out = (hl7_time){ .hour = -1, .minute = -1, .second = -1, .fraction = SLICE_NONE };
    if ((wrong = take_date(&text, out)) != NULL) return wrong;
    if (out->day > 0 && digit_at(text, 0) >= 0 && (wrong = take_clock(&text, out)) != NULL) return wrong;
    if (text.len == 0) return NULL;
    if (text.ptr[0] != '+' && text.ptr[0] != '-') return "more behind it than a date and time";
    if (!hl7_offset_read(text, &out->offset)) return "no such offset";
    out->has_offset = true;
    return NULL;
}

int hl7_time_zone_offset(const hl7_time *t, const zone *z)
{
    int64_t local = days_from_civil(t->year, t->month, t->day) * 86400 + t->hour * 3600 +
                    (t->minute < 0 ? 0 : t->minute) * 60 + (t->second < 0 ? 0 : t->second);
    return zone_offset(z, local) / 60;   /* local mean times of old have seconds, FHIR has not */
}

char *fhir_date_write(const hl7_time *t, char out[FHIR_TIME_MAX])
{
    if (t->month == 0) (void)snprintf(out, FHIR_TIME_MAX, "%04d", t->year);
    else if (t->day == 0) (void)snprintf(out, FHIR_TIME_MAX, "%04d-%02d", t->year, t->month);
    else (void)snprintf(out, FHIR_TIME_MAX, "%04d-%02d-%02d", t->year, t->month, t->day);
    return out;
}

/* FHIR wants seconds with the minutes: `:00` where HL7 left them out. */
static void write_clock(const hl7_time *t, char *out, size_t cap)
{
    (void)snprintf(out, cap, "%02d:%02d:%02d%s%.*s", t->hour, t->minute < 0 ? 0 : t->minute,
                   t->second < 0 ? 0 : t->second, t->fraction.len > 0 ? "." : "",
                   (int)t->fraction.len, t->fraction.len > 0 ? t->fraction.ptr : "");
}

char *fhir_datetime_write(const hl7_time *t, char out[FHIR_TIME_MAX])
{
    char clock[24];
    size_t n;
    int ahead = t->offset < 0 ? -t->offset : t->offset;

    (void)fhir_date_write(t, out);
    if (t->hour < 0 || !t->has_offset) return out;
    write_clock(t, clock, sizeof clock);
    n = strlen(out);
    (void)snprintf(out + n, FHIR_TIME_MAX - n, "T%s%c%02d:%02d", clock, t->offset < 0 ? '-' : '+',
                   ahead / 60, ahead % 60);
    return out;
}

const char *fhir_time_convert(slice text, char out[FHIR_TIME_MAX])
{
    hl7_time t = { .hour = -1, .minute = -1, .second = -1, .fraction = SLICE_NONE };
    const char *wrong = take_clock(&text, &t);
    int offset;

    if (wrong != NULL) return wrong;
    if (text.len > 0 && !hl7_offset_read(text, &offset)) return "more behind it than a time";
    write_clock(&t, out, FHIR_TIME_MAX);
    return NULL;
}
