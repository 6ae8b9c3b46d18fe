import COpenSSL
import Glibc

/// Has OpenSSL verify a certificate as the other side of a connection would, and go on after each fault.
struct ChainCheck {
    /// A fault, and the number of the certificate in the chain that has it: 0 is the node's own.
    private struct Fault: Hashable {
        let code: CInt
        let depth: CInt
    }

    /// Faults of one verification; its callback fills it.
    private final class Faults {
        var found: [Fault] = []
    }

    /// Security level 2, as Debian's OpenSSL has it for connections: RSA from 2048 bits, no SHA-1.
    private static let securityLevel: CInt = 2

    /// The node's own certificate, then those that its file has for the way to the root.
    let chain: [Certificate]
    let path: String
    let authority: String
    /// Revocation lists; nil for none.
    let revoked: String?

    /// - Parameter host: The name or address that the certificate must have; nil for a client's.
    func problems(side: TLSSide, host: CertificateHost?) -> [CertificateProblem] {
        do {
            let faults = try verify(side, host)
            let known = faults.compactMap { problem(of: $0, side, host) }
            let ending = faults.contains(where: Self.isOfDates) ? nil : CertificateProblem(path, chain[0].validity)
            return known + (ending.map { [$0] } ?? [])
        } catch {
            return [.fault("\(error)")]
        }
    }

    private func verify(_ side: TLSSide, _ host: CertificateHost?) throws -> [Fault] {
        ERR_clear_error()
        guard let store = X509_STORE_new(), let context = X509_STORE_CTX_new(), let others = OPENSSL_sk_new_null()
        else {
            throw TLSError("out of memory")
        }
        defer {
            X509_STORE_CTX_free(context)
            OPENSSL_sk_free(others)
            X509_STORE_free(store)
        }
        guard X509_STORE_load_file(store, authority) == 1 else {
            throw TLSError(cannotUse: "authority's certificate", authority)
        }
        if let revoked { try Self.load(revoked, into: store) }
        for certificate in chain.dropFirst() { OPENSSL_sk_push(others, UnsafeRawPointer(certificate.x509)) }
        guard X509_STORE_CTX_init(context, store, chain[0].x509, others) == 1 else {
            throw TLSError("cannot verify \(path): \(TLSError.takeReason())")
        }
        X509_STORE_CTX_set_purpose(context, side == .server ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT)
        try set(host, X509_STORE_CTX_get0_param(context))
        let faults = Faults()
        return withExtendedLifetime(faults) {
            X509_STORE_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(faults).toOpaque())
            X509_STORE_CTX_set_verify_cb(context) { ChainCheck.judge(isGood: $0, $1) }
            X509_verify_cert(context)
            ERR_clear_error()
            return faults.found
        }
    }

    private func set(_ host: CertificateHost?, _ rules: OpaquePointer?) throws {
        X509_VERIFY_PARAM_set_auth_level(rules, Self.securityLevel)
        let isTaken =
            switch host?.name {
            case nil: true
            case .host(let name)?: X509_VERIFY_PARAM_set1_host(rules, name, name.utf8.count) == 1
            case .address(let bytes)?: X509_VERIFY_PARAM_set1_ip(rules, bytes, bytes.count) == 1
            }
        guard isTaken else { throw TLSError("\(host?.text ?? "") is no name that a certificate can have") }
    }

    private static func load(_ revoked: String, into store: OpaquePointer) throws {
        guard let lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file()),
            X509_load_crl_file(lookup, revoked, X509_FILETYPE_PEM) > 0,
            X509_STORE_set_flags(store, UInt(X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL)) == 1
        else { throw TLSError(cannotUse: "list of revoked certificates", revoked) }
    }

    /// Notes a fault, and has OpenSSL look for the next.
    private static func judge(isGood: CInt, _ check: OpaquePointer?) -> CInt {
        guard isGood == 0, let check, let data = X509_STORE_CTX_get_ex_data(check, 0) else { return isGood }
        let fault = Fault(code: X509_STORE_CTX_get_error(check), depth: X509_STORE_CTX_get_error_depth(check))
        let faults = Unmanaged<Faults>.fromOpaque(data).takeUnretainedValue()
        // As `TLSChannel.judge`: few publish a list for each authority above the node's own.
        let isTolerated = fault.code == X509_V_ERR_UNABLE_TO_GET_CRL && fault.depth > 0
        if !isTolerated, !faults.found.contains(fault) { faults.found.append(fault) }
        return 1
    }

    private static func isOfDates(_ fault: Fault) -> Bool {
        fault.depth == 0 && [X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID].contains(fault.code)
    }

    /// - Returns: Nil for a fault that only follows from another.
    private func problem(of fault: Fault, _ side: TLSSide, _ host: CertificateHost?) -> CertificateProblem? {
        let whose = fault.depth == 0 ? path : "the authority's certificate behind \(path)"
        switch fault.code {
        case X509_V_ERR_CERT_HAS_EXPIRED, X509_V_ERR_CERT_NOT_YET_VALID:
            if fault.depth == 0 { return CertificateProblem(path, chain[0].validity) }
            let when = fault.code == X509_V_ERR_CERT_HAS_EXPIRED ? "has expired" : "is not valid yet"
            return .fault("\(whose) \(when): have the authority make its own anew, and copy it to ca-cert.pem")
        case X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH:
            return .fault(missingName(host))
        case X509_V_ERR_INVALID_PURPOSE:
            let use = side == .server ? "servers (serverAuth)" : "clients (clientAuth)"
            return .fault("\(whose) is not for \(use): its extendedKeyUsage or keyUsage says so; have one made that is")
        case X509_V_ERR_CERT_REVOKED:
            return .fault("\(whose) is revoked, as \(revoked ?? "ca-crl.pem") says: have a new one made")
        case X509_V_ERR_CRL_HAS_EXPIRED, X509_V_ERR_CRL_NOT_YET_VALID:
            return .fault(
                "\(revoked ?? "ca-crl.pem") is out of date, so nobody is let in: get a new one from the authority")
        case X509_V_ERR_UNABLE_TO_GET_CRL:
            return .fault("\(revoked ?? "ca-crl.pem") has no list of the authority that has signed \(path): add it")
        case X509_V_ERR_EE_KEY_TOO_SMALL, X509_V_ERR_CA_KEY_TOO_SMALL:
            return .fault("\(whose) has a weak key: have one made with RSA of 2048 bits or more, or with ECDSA")
        case X509_V_ERR_CA_MD_TOO_WEAK:
            return .fault("\(whose) has a weak signature, such as SHA-1: have it signed with SHA-256")
        case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
            // OpenSSL says first that there is no issuer, and then this.
            return nil
        default:
            return unknown(fault, whose)
        }
    }

    private func unknown(_ fault: Fault, _ whose: String) -> CertificateProblem {
        let result = CertificateFault(result: fault.code, names: [], expired: (nil, false))
        guard case .other(let reason) = result else {
            return .fault(
                "no authority in \(authority) has signed \(path): copy the certificate of the one that has, and those "
                    + "between them into \(path)")
        }
        return .fault("\(whose) is refused: \(reason)")
    }

    private func missingName(_ host: CertificateHost?) -> String {
        let names = CertificateNames.names(of: chain[0].x509)
        let has = names.isEmpty ? "names no host" : "names \(names.joined(separator: ", "))"
        let wanted = host?.text ?? "this host"
        return "\(path) \(has) (subjectAltName), and not \(wanted): have one made that does, or use a name that it has"
    }
}
