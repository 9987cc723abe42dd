/* store/advice.h -- what a person can do about an error of PostgreSQL's. */
#ifndef STORE_ADVICE_H
#define STORE_ADVICE_H

/* NULL where there is nothing to say that the error's own text does not. */
const char *advice_for(const char *sqlstate);

#endif
