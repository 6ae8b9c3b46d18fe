#pragma once

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
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

// Makes a key on the curve P-256; NULL with OpenSSL's error.
static inline EVP_PKEY *openssl_make_key(void) { return EVP_EC_gen("P-256"); }

// Adds an extension to a certificate, its value written as in x509v3_config(5). Returns 1; 0 with OpenSSL's error.
static inline int openssl_add_extension(X509 *certificate, X509 *issuer, int kind, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&context);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    if (!extension) return 0;
    int added = X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    return added;
}

// Writes the attribute CN of a name; X509_NAME_add_entry_by_txt(3).
static inline int openssl_set_common_name(X509_NAME *name, const char *text) {
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)text, -1, -1, 0);
}
