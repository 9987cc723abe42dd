/* store/home.h -- all connections of one URL are at one server.
 *
 * Where several hosts are named, a failover may leave connections that had nothing to do behind. When the
 * old primary wakes up it answers them, and what changes nothing there is told to be done. So each
 * follows the one that connected last, and none connects elsewhere while the server of the others answers.
 * Of the loop's thread only. */
#ifndef STORE_HOME_H
#define STORE_HOME_H

#include "store/conninfo.h"

typedef struct home home;

typedef struct home_member {             /* embedded in a connection */
    list     link;
    home    *of;
    char     at[CONNINFO_AT];            /* its server */
    uint64_t heard_ns;                   /* the server, last; the connection sets it */
    size_t   further;                    /* home's, when its attempt began */
    bool     there;                      /* it is connected, and where the others are */
} home_member;

void home_join(home_member *m, const char *url);
void home_leave(home_member *m);

size_t home_begin(home_member *m, const conninfo *i);    /* An attempt: with which address? */
void home_silent(home_member *m);                        /* It was given up: the next begins with another. */
/* It is connected. False: elsewhere than the others, whose server answers. */
bool home_settle(home_member *m, const PGconn *conn);
bool home_moved(const home_member *m);                   /* Are the others elsewhere by now? */

#endif
