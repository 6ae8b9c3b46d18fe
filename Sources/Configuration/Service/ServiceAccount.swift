import Glibc

/// A user of this system whose rights a process can take on.
public struct ServiceAccount: Sendable {
    /// The user's name, or the number as it was given.
    public let name: String
    private let uid: uid_t
    private let gid: gid_t
    private let groups: [gid_t]

    /// Looks a user up. Blocks the thread.
    /// - Parameters:
    ///   - name: A name or number that the system knows.
    ///   - group: Main group; nil for the user's.
    ///   - supplementary: Further groups.
    /// - Throws: `InvalidValue` if there is no such user or group.
    public init(_ name: String, group: String? = nil, supplementary: [String] = []) throws(InvalidValue) {
        guard let entry = getpwnam(name) ?? uid_t(name).flatMap({ getpwuid($0) }) else {
            throw InvalidValue("there is no user '\(name)'; give one that getent passwd shows")
        }
        self.name = name
        uid = entry.pointee.pw_uid
        let own = entry.pointee.pw_gid
        let login = String(cString: entry.pointee.pw_name)
        gid = try group.map { name throws(InvalidValue) in try GroupName(name).number } ?? own
        var found = [gid_t](repeating: 0, count: Int(NGROUPS_MAX))
        var count = CInt(found.count)
        guard getgrouplist(login, gid, &found, &count) >= 0 else {
            throw InvalidValue("the groups of user '\(name)' can't be looked up")
        }
        var groups = Array(found.prefix(Int(count)))
        for name in supplementary { groups.append(try GroupName(name).number) }
        self.groups = groups
    }

    /// Gives the process, with all its threads, this user's rights for good; whatever it does then is judged as that user.
    /// Does nothing if it has them.
    /// - Throws: `InvalidValue` if the process is neither root's nor this user's.
    public func become() throws(InvalidValue) {
        guard geteuid() != uid || geteuid() == 0 else { return }
        guard geteuid() == 0 else {
            throw InvalidValue("only root can judge as user '\(name)'; run it as root, or as that user")
        }
        guard setgroups(groups.count, groups) == 0, setgid(gid) == 0, setuid(uid) == 0 else {
            throw InvalidValue("the rights of user '\(name)' can't be taken on: \(String(cString: strerror(errno)))")
        }
    }
}
