#pragma once

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <string.h>

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

// Blocks to hash, one after the other in memory.
struct openssl_blocks {
    EVP_MD_CTX *context;  // initialized; afterwards it is again, but not where the call was left by a jump
    const uint8_t *blocks;
    size_t size;
    size_t count;
    uint8_t *fingerprints;  // 16 bytes for each: the first of its digest, or zeros for a block of zeros
};
// 0, or -1 where OpenSSL fails. For linux_guard: it holds nothing that a jump would leave behind.
static inline int openssl_fingerprint_blocks(void *argument) {
    const struct openssl_blocks *job = argument;
    for (size_t index = 0; index < job->count; index++) {
        const uint8_t *block = job->blocks + index * job->size;
        uint8_t digest[32] = {0};
        if (memcmp(block, digest, 16) != 0 || memcmp(block, block + 16, job->size - 16) != 0) {
            if (EVP_DigestUpdate(job->context, block, job->size) != 1 ||
                EVP_DigestFinal_ex(job->context, digest, NULL) != 1 ||
                EVP_DigestInit_ex2(job->context, NULL, NULL) != 1)
                return -1;
        }
        memcpy(job->fingerprints + 16 * index, digest, 16);
    }
    return 0;
}
