import Configuration
import Glibc

/// The user as whom this process looks at a node's files, and the service that runs the node.
struct Judgement {
    /// The service with the configuration file; nil if there is none.
    let service: ServiceUnit?
    /// The user's name, or number if it has none.
    let user: String
    /// Whether the rights are those that the service gives.
    private let isService: Bool

    /// Takes on a user's rights, for good: root's are no measure of a node that has fewer.
    /// - Parameters:
    ///   - user: The user that the operator has named; nil for that of the service where root asks, else for this one.
    ///   - config: The configuration file; nil if none is given.
    /// - Throws: `CommandFailure` if there is no such user, or only root could do that.
    init(as user: String?, config: String?) throws {
        let service = ServiceUnit.running(config: config)
        let ofService = user == nil || user == service?.user
        let name = user ?? (geteuid() == 0 ? service?.user : nil)
        do {
            try name.map {
                try ServiceAccount(
                    $0, group: ofService ? service?.group : nil, supplementary: ofService ? service?.groups ?? [] : [])
            }?.become()
        } catch { throw CommandFailure(reason: "\(error)") }
        let own = getpwuid(geteuid()).map { String(cString: $0.pointee.pw_name) } ?? String(geteuid())
        self.service = service
        self.user = name ?? own
        isService = service.map { $0.user ?? "root" == name ?? own } ?? false
    }

    /// The user, and the service if it has the same.
    var description: String {
        guard let service else { return "judged as user \(user)" }
        let unlike = isService ? "as \(service.name) runs" : "while \(service.name) runs as \(service.user ?? "root")"
        return "judged as user \(user), \(unlike)"
    }
}
