#pragma once

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

// Swift does not see the macros that these functions call.

// Sets the rules of long-lived connections: nothing is ever resumed, renegotiated or compressed, and writes may be partial,
// from memory that may move between calls. `newest` is 0 for no upper limit.
static inline int openssl_set_rules(SSL_CTX *context, int oldest, int newest) {
    SSL_CTX_set_options(
        context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(
        context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_dh_auto(context, 1);
    return SSL_CTX_set_num_tickets(context, 0) && SSL_CTX_set_min_proto_version(context, oldest)
        && SSL_CTX_set_max_proto_version(context, newest);
}

// Tells the server which host the client means (SNI).
static inline int openssl_set_server_name(SSL *connection, const char *name) {
    return (int)SSL_set_tlsext_host_name(connection, name);
}

// A node has nobody to ask for a passphrase: counts that it was asked for, and gives none. OpenSSL's own callback would
// read it from the terminal. pem_password_cb(3)
static inline int openssl_refuse_passphrase(char *buffer, int size, int writes, void *asked) {
    (void)buffer, (void)size, (void)writes;
    if (asked) ++*(int *)asked;
    return -1;
}
