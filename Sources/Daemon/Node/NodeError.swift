import Peer
import PeerModel

/// Reasons why a node can't carry out a command.
public enum NodeError: Error, CustomStringConvertible {
    case noSuchExport(String, known: [String])
    case heldBack(String, reason: String)
    case alreadyMigrating(String, to: PeerAddress)
    case hasMoved(String, to: PeerAddress)
    case notMigrating(String)
    case tooLateToCancel(String)
    case cancelledButRecorded(String, reason: String)
    case tooLateToSwitch(String)
    case isArriving(String)
    case isTrimmed(String)
    case isResized(String)
    case notReady(String)
    case noBitmap(String)
    case unusable(String)
    case readOnly(String)
    case nameTaken(String)
    case missingOption(String, needs: String)

    /// Names of exports in a message.
    private static let mostNames = 8

    /// Message for the user, in one line.
    public var description: String {
        switch self {
        case .noSuchExport(let name, let known):
            Self.unknown(name, known)
        case .heldBack(let name, let reason):
            "\(name) is not served: \(reason)"
        case .alreadyMigrating(let name, let address):
            "\(name) is being migrated to \(address) already; wait for it, or stop it with: nearblock cancel \(name)"
        case .hasMoved(let name, let address):
            "\(name) has moved to \(address); give the command at that node"
        case .notMigrating(let name):
            "\(name) is not being migrated; nearblock status shows what is"
        case .tooLateToCancel(let name):
            "\(name) has been switched over already; a moved disk can't be cancelled"
        case .cancelledButRecorded(let name, let reason):
            "\(name) is cancelled, but the record of its migration can't be deleted: \(reason); this node keeps trying, and if it "
                + "restarts before that succeeds, it resumes the migration"
        case .tooLateToSwitch(let name):
            "\(name) has been switched over already, or its migration has ended"
        case .isArriving(let name):
            "\(name) has missing blocks; wait until nearblock status shows no missing blocks"
        case .isResized(let name):
            "\(name) is being made larger; try again in a moment"
        case .isTrimmed(let name):
            "\(name) is being trimmed; wait for nearblock trim, or end it"
        case .notReady(let name):
            "\(name) has just changed; ask again"
        case .noBitmap(let name):
            "\(name) has no dirty bitmap; serve it with --dirty-bitmap NAME"
        case .unusable(let reason):
            reason
        case .readOnly(let name):
            "\(name) is read-only and gets no first write; use --switch converged, manual or now"
        case .nameTaken(let name):
            "there is an export '\(name)' here already; choose another name"
        case .missingOption(let option, let needs):
            "\(option) needs \(needs)"
        }
    }

    private static func unknown(_ name: String, _ known: [String]) -> String {
        let question = NearestName.find(name, among: known).map { " (did you mean '\($0)'?)" } ?? ""
        var list = known.prefix(mostNames).map { "'\($0)'" }.joined(separator: ", ")
        if known.count > mostNames { list += " and \(known.count - mostNames) more" }
        return "there is no export '\(name)' here\(question); this node has \(known.isEmpty ? "none" : list)"
    }
}
