#pragma once

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>

// What OpenSSL defines as macros, which Swift does not see: the rules of a server of long-lived connections. TLS 1.2 or
// later; nothing is ever resumed, renegotiated or compressed; partial writes, from memory that may move between calls.
static inline int openssl_set_server_rules(SSL_CTX *context) {
    SSL_CTX_set_options(
        context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(
        context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_dh_auto(context, 1);
    return SSL_CTX_set_num_tickets(context, 0) && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
}

// A server has nobody to ask for a passphrase: counts that it was asked for, and gives none. OpenSSL's own would read it
// from the terminal. pem_password_cb(3)
static inline int openssl_refuse_passphrase(char *buffer, int size, int writes, void *asked) {
    (void)buffer, (void)size, (void)writes;
    if (asked) ++*(int *)asked;
    return -1;
}
