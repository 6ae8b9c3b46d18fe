/// A fault or a warning about the files of a TLS directory.
public struct CertificateProblem: Sendable, Equatable, CustomStringConvertible {
    /// Whether connections fail because of it; otherwise it is a warning.
    public let isFault: Bool
    /// File, problem and remedy, in one line.
    public let description: String

    static func fault(_ description: String) -> CertificateProblem {
        CertificateProblem(isFault: true, description: description)
    }

    static func warning(_ description: String) -> CertificateProblem {
        CertificateProblem(isFault: false, description: description)
    }

    /// The problem of a certificate's dates; nil if they are good.
    init?(_ path: String, _ validity: CertificateValidity) {
        let renew = "make a new one, as with nearblock certificates make, and run nearblock reload"
        switch validity {
        case .good:
            return nil
        case .ending(let days):
            self = .warning("\(path) expires in \(Self.days(days)): \(renew)")
        case .expired(let days):
            self = .fault("\(path) expired \(days == 0 ? "today" : "\(Self.days(days)) ago"), and is refused: \(renew)")
        case .notYetValid(let days):
            self = .fault("\(path) is not valid yet, for \(Self.days(days)): is the clock of this machine right?")
        }
    }

    private init(isFault: Bool, description: String) {
        self.isFault = isFault
        self.description = description
    }

    private static func days(_ count: Int) -> String {
        count == 0 ? "less than a day" : count == 1 ? "1 day" : "\(count) days"
    }
}
