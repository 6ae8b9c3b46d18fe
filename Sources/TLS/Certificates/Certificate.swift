import COpenSSL
import Glibc

/// An X.509 certificate.
///
/// `@unchecked Sendable`: nothing changes the certificate after `init`, and OpenSSL counts references atomically.
final class Certificate: @unchecked Sendable {
    let x509: OpaquePointer

    /// Takes ownership of an `X509`.
    init(taking x509: OpaquePointer) {
        self.x509 = x509
    }

    deinit { X509_free(x509) }

    /// Reads all certificates of a PEM file; that of its owner comes first. Returns at least one.
    /// - Throws: `TLSError`, which names the file.
    static func read(_ path: String) throws -> [Certificate] {
        ERR_clear_error()
        guard let file = BIO_new_file(path, "r") else { throw TLSError(cannotUse: "certificate", path) }
        defer { BIO_free(file) }
        var found: [Certificate] = []
        while let next = PEM_read_bio_X509(file, nil, nil, nil) { found.append(Certificate(taking: next)) }
        guard !found.isEmpty else { throw TLSError(cannotUse: "certificate", path) }
        // The end of the file counts as an error.
        ERR_clear_error()
        return found
    }

    /// Whole days until the certificate ends; negative if it has ended. Nil if OpenSSL can't read its date.
    var daysUntilEnd: Int? { Self.days(until: X509_get0_notAfter(x509)) }

    /// The state of its dates, by this machine's clock.
    var validity: CertificateValidity {
        if X509_cmp_current_time(X509_get0_notBefore(x509)) > 0 {
            return .notYetValid(days: max(0, Self.days(until: X509_get0_notBefore(x509)) ?? 0))
        }
        guard let days = daysUntilEnd else { return .good }
        if X509_cmp_current_time(X509_get0_notAfter(x509)) < 0 { return .expired(days: -days) }
        return days < CertificateValidity.warningDays ? .ending(days: days) : .good
    }

    private static func days(until time: UnsafePointer<ASN1_TIME>?) -> Int? {
        var (days, seconds) = (CInt(0), CInt(0))
        guard let time, ASN1_TIME_diff(&days, &seconds, nil, time) == 1 else { return nil }
        return Int(days)
    }
}
