import Glibc
import TLS

extension PeerError {
    /// Says in one line what a failure of TLS means for two nodes.
    /// - Parameters:
    ///   - host: the host that this node means to reach; nil where it was connected to.
    ///   - ownEnd: the end of this node's certificate, in seconds since 1970; nil if it has none.
    init(encryption failure: TLSFailure, host: String?, ownEnd: Int64?) {
        self = .handshake(Self.meaning(of: failure, host, ownEnd))
    }

    private static func renewal(in place: String) -> String {
        "with the authority's folder: nearblock certificates make --host NAME, then put the files into the --peer-tls directory "
            + "\(place), and run nearblock reload \(place)"
    }

    private static func meaning(of failure: TLSFailure, _ host: String?, _ ownEnd: Int64?) -> String {
        switch failure {
        case .certificate(let fault): meaning(of: fault, host)
        case .noCertificate: "it shows no certificate"
        case .refused(let alert): meaning(of: alert, ownEnd)
        case .noCommonVersion: "it does not speak TLS 1.3"
        case .notTLS: "it does not speak TLS; give both nodes --peer-tls DIR or --tls DIR"
        case .endedInHandshake: "it hung up; does it expect TLS on this port?"
        case .truncated: "the connection was cut"
        case .other(let reason): "TLS does not come about: \(reason)"
        }
    }

    private static func meaning(of fault: CertificateFault, _ host: String?) -> String {
        switch fault {
        case .expired(let ended, let isAuthority): expired(ended, isAuthority, host)
        case .notYetValid: "its certificate is not valid yet; are both nodes' clocks right?"
        case .revoked: "its certificate is revoked, as our ca-crl.pem says; have a new one made for it"
        case .listOutOfDate: "our ca-crl.pem is out of date; get a new one from the authority"
        case .noList: "our ca-crl.pem has no list of the authority that has signed its certificate; add it"
        case .unknownAuthority:
            "its certificate is not one that our ca-cert.pem has signed; have both made with one authority, and look with "
                + "nearblock certificates check"
        case .otherHost(let names): otherHost(names, host ?? "this one")
        case .other(let reason): "its certificate is refused: \(reason)"
        }
    }

    private static func expired(_ ended: Int64?, _ isAuthority: Bool, _ host: String?) -> String {
        let end = ended.map { " on \(CertificateExpiry.date($0))" } ?? ""
        guard !isAuthority else {
            return
                "the certificate of the authority that has signed its certificate expired\(end); make a new authority, and "
                + "new certificates for both nodes, with nearblock certificates make"
        }
        return
            "the certificate of the other node\(host.map { ", \($0)," } ?? "") expired\(end); make a new one \(renewal(in: "there"))"
    }

    private static func expiredHere(_ ownEnd: Int64?) -> String {
        guard let ownEnd, ownEnd < Int64(time(nil)) else {
            return
                "the other node's ca-crl.pem is out of date, or its clock is wrong: get a new list from the authority there, "
                + "and run nearblock reload there"
        }
        return
            "this node's certificate has expired, on \(CertificateExpiry.date(ownEnd)); make a new one \(renewal(in: "here"))"
    }

    private static func otherHost(_ names: [String], _ host: String) -> String {
        let has =
            names.isEmpty
            ? "it names no host (subjectAltName)"
            : "it names \(names.joined(separator: ", ")) (subjectAltName), and not \(host)"
        return "its certificate is for another host: \(has); give --to a name that the certificate has, or have one "
            + "made for the other node that has \(host)"
    }

    private static func meaning(of alert: TLSAlert, _ ownEnd: Int64?) -> String {
        switch alert {
        case .unknownAuthority:
            "it does not accept this node's certificate; both must be signed by the same authority, and its ca-crl.pem, "
                + "if it has one, must be that authority's"
        case .certificateExpired: expiredHere(ownEnd)
        case .certificateRevoked:
            "this node's certificate is revoked, as the other node's ca-crl.pem says; have a new one made"
        case .certificateUnsupported: "it does not accept this node's kind of certificate"
        case .certificateBad: "it does not accept this node's certificate"
        case .certificateRequired: "it wants a certificate, and this node has none to show"
        case .other(let reason): "TLS does not come about: \(reason)"
        }
    }
}
