/* fhir/search.c -- cuts parameter values at the separators that are not escaped. */
#include "fhir/search.h"

#include "fhir/resource.h"

/* Where the first unescaped `sep` stands; s.len when nowhere. */
static size_t find_plain(slice s, char sep)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\\') i++;
        else if (s.ptr[i] == sep) return i;
    }
    return s.len;
}

bool fhir_search_next(slice *rest, slice *value)
{
    size_t at;

    if (rest->ptr == NULL) return false;
    at = find_plain(*rest, ',');
    *value = (slice){ rest->ptr, at };
    *rest = at == rest->len ? SLICE_NONE : slice_from(*rest, at + 1);
    return true;
}

slice fhir_search_name(slice parameter, slice *modifier)
{
    return slice_cut(parameter, ':', modifier);
}

slice fhir_search_text(arena *mem, slice value)
{
    char *out;
    size_t n = 0;

    if (value.len == 0 || memchr(value.ptr, '\\', value.len) == NULL) return value;
    out = arena_alloc(mem, value.len);
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] == '\\' && i + 1 < value.len && strchr("\\,|$", value.ptr[i + 1]) != NULL) i++;
        out[n++] = value.ptr[i];
    }
    return (slice){ out, n };
}

err fhir_search_token_parse(arena *mem, slice value, fhir_search_token *out, err_info *why)
{
    size_t bar = find_plain(value, '|');
    slice left = { value.ptr, bar }, right = slice_from(value, bar + 1);

    *out = (fhir_search_token){ .kind = TOKEN_CODE };
    if (value.len == 0) return err_set(why, ERR_USAGE, "a token is empty; write system|code or code");
    if (bar == value.len) {
        out->code = fhir_search_text(mem, value);
        return ERR_OK;
    }
    if (find_plain(right, '|') != right.len)
        return err_set(why, ERR_USAGE, "a token has more than one '|'; write a '|' inside of it as \\|");
    if (left.len == 0 && right.len == 0)
        return err_set(why, ERR_USAGE, "a token is '|' alone; write system|code, |code or system|");
    out->kind = left.len == 0 ? TOKEN_NO_SYSTEM : right.len == 0 ? TOKEN_SYSTEM : TOKEN_BOTH;
    if (left.len > 0) out->system = fhir_search_text(mem, left);
    if (right.len > 0) out->code = fhir_search_text(mem, right);
    return ERR_OK;
}

err fhir_search_reference_parse(arena *mem, slice value, slice base, slice type_hint,
                                fhir_search_reference *out, err_info *why)
{
    slice text = fhir_search_text(mem, value);
    fhir_target target;

    *out = (fhir_search_reference){ 0 };
    if (fhir_id_valid(text)) {
        out->type = type_hint;
        out->id = text;
        return ERR_OK;
    }
    if (fhir_reference_parse(text, &target)) {
        if (target.base.ptr != NULL && !slice_eq(target.base, base)) {
            out->url = text;
            return ERR_OK;
        }
        if (type_hint.ptr != NULL && !slice_eq(target.type, type_hint))
            return err_set(why, ERR_USAGE, "a reference to another type of resource than the parameter allows");
        out->type = target.type;
        out->id = target.id;
        return ERR_OK;
    }
    if (text.len > 0 && memchr(text.ptr, ':', text.len) != NULL) {       /* urn:…, another's URL */
        out->url = text;
        return ERR_OK;
    }
    return err_set(why, ERR_USAGE, "a reference must be Type/id, id or a URL");
}

err fhir_search_date_parse(slice value, fhir_span *out, err_info *why)
{
    static const char *const prefixes[] = { "eq", "ge", "gt", "le", "lt", "sa", "eb", "ne", "ap" };
    enum { EQ, GE, GT, LE, LT, SA, EB, NE, AP };
    size_t prefix = EQ;
    slice date = value;
    fhir_span span;

    for (size_t i = 0; i < countof(prefixes); i++) {
        if (!slice_starts(value, slice_of(prefixes[i]))) continue;
        prefix = i;
        date = slice_from(value, 2);
    }
    if (prefix == NE || prefix == AP)
        return err_set(why, ERR_USAGE, "the date prefix %s is not supported; use eq, ge, gt, le or lt",
                       prefixes[prefix]);
    if (!fhir_date_parse(date, &span))
        return err_set(why, ERR_USAGE, "a date must be written like 2026, 2026-04, 2026-04-18 or "
                                       "2026-04-18T09:30:00Z, with ge, gt, le or lt in front if wanted");
    *out = (fhir_span){ INT64_MIN, INT64_MAX };
    if (prefix == EQ || prefix == GE) out->from_us = span.from_us;
    if (prefix == GT || prefix == SA) out->from_us = span.to_us;
    if (prefix == EQ || prefix == LE) out->to_us = span.to_us;
    if (prefix == LT || prefix == EB) out->to_us = span.from_us;
    return ERR_OK;
}
