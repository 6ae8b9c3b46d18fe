/// One line of `nearblock doctor`.
struct DoctorFinding: Encodable, Sendable {
    enum Verdict: String, Encodable, Sendable {
        case ok
        /// It works, and worse than it could, or not for long.
        case warning
        /// Something does not work.
        case fault
    }

    /// The subject, in one or two words.
    let check: String
    let verdict: Verdict
    /// The finding.
    let text: String
    /// The remedy; nil if there is nothing to do.
    let advice: String?

    static func ok(_ check: String, _ text: String) -> DoctorFinding {
        DoctorFinding(check: check, verdict: .ok, text: text, advice: nil)
    }

    static func warning(_ check: String, _ text: String, do advice: String?) -> DoctorFinding {
        DoctorFinding(check: check, verdict: .warning, text: text, advice: advice)
    }

    static func fault(_ check: String, _ text: String, do advice: String?) -> DoctorFinding {
        DoctorFinding(check: check, verdict: .fault, text: text, advice: advice)
    }
}
