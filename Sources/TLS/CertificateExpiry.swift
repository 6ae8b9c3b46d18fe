import COpenSSL
import Glibc

/// The ends of validity of the certificates that are in use, in seconds since 1970.
public struct CertificateExpiry: Sendable {
    /// The certificate that is shown; nil if none is.
    public let own: Int64?
    /// The authority that ends first; nil if none is asked for.
    public let authority: Int64?

    init(of context: OpaquePointer) {
        own = SSL_CTX_get0_certificate(context).flatMap(Self.end)
        authority = Self.first(in: SSL_CTX_get_cert_store(context))
    }

    private static func first(in store: OpaquePointer?) -> Int64? {
        guard let store, let list = X509_STORE_get1_all_certs(store) else { return nil }
        defer { OPENSSL_sk_pop_free(list) { X509_free(OpaquePointer($0)) } }
        return (0..<OPENSSL_sk_num(list)).compactMap { index in
            OPENSSL_sk_value(list, index).flatMap { end(of: OpaquePointer($0)) }
        }.min()
    }

    /// The end of a certificate, in seconds since 1970; nil if OpenSSL can't read its date.
    static func end(of certificate: OpaquePointer) -> Int64? {
        var time = tm()
        guard let end = X509_get0_notAfter(certificate), ASN1_TIME_to_tm(end, &time) == 1 else { return nil }
        return Int64(timegm(&time))
    }
}

extension CertificateExpiry {
    /// A date for people, in UTC, as in 2026-12-31.
    public static func date(_ secondsSince1970: Int64) -> String {
        var seconds = time_t(secondsSince1970)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        var text = [CChar](repeating: 0, count: 32)
        strftime(&text, text.count, "%Y-%m-%d", &parts)
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

extension TLSContext {
    /// The ends of validity of its certificates, as they were read.
    public var expiry: CertificateExpiry { CertificateExpiry(of: context) }
}
