/// The state of a certificate's dates; days are whole ones.
public enum CertificateValidity: Equatable, Sendable {
    /// It is valid for 30 days or more.
    case good
    /// It is valid, and ends in less than 30 days.
    case ending(days: Int)
    /// It ended so many days ago.
    case expired(days: Int)
    /// It becomes valid in so many days.
    case notYetValid(days: Int)

    /// A certificate that ends sooner gets a warning. An authority that people run needs some days for a new one.
    static let warningDays = 30
}
