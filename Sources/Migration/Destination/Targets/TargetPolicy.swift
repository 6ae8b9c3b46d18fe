/// Chooses the commands for an arriving disk by the domains that its source has named.
public struct TargetPolicy: Equatable, Sendable {
    /// The commands for disks whose domains have none; nil for the images directory.
    public var standard: TargetCommands?
    /// The commands of domains.
    public var domains: [String: TargetCommands]

    /// Without commands every disk goes into the images directory.
    public init(standard: TargetCommands? = nil, domains: [String: TargetCommands] = [:]) {
        self.standard = standard
        self.domains = domains
    }

    /// Whether there are commands at all.
    public var isEmpty: Bool { standard == nil && domains.isEmpty }

    /// The first of these domains that has commands; nil if none has.
    func domain(among offered: [String]) -> String? { offered.first { domains[$0] != nil } }

    /// The commands of a domain; those for all other disks if it has none, or is nil.
    func commands(of domain: String?) -> TargetCommands? { domain.flatMap { domains[$0] } ?? standard }
}
