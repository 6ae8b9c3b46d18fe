extension NodeConfiguration {
    /// Returns the keys that differ from `running` and take effect only at the next start, as the file names them.
    func fixedKeys(changedSince running: NodeConfiguration) -> [String] {
        let differs: [(key: String, differs: Bool)] = [
            ("listen, socket or vsock", listen.map(\.description) != running.listen.map(\.description)),
            ("peer-listen", peerListen != running.peerListen),
            ("keep-migrations", keepsMigrations != running.keepsMigrations),
            ("images", images != running.images),
            ("memory-dir", memoryDirectory != running.memoryDirectory),
            ("prepare, release or a [domain]", targets != running.targets),
            ("index", index != running.index),
            ("keep-index", keepIndex != running.keepIndex),
            ("site, host, site-address or site-rate", site != running.site),
            ("incoming-writes", refusesEarlyWrites != running.refusesEarlyWrites),
            ("image-mode or image-group", imagePermissions != running.imagePermissions),
            ("socket-mode or socket-group", socketPermissions != running.socketPermissions),
            ("state", state != running.state),
            ("control", control != running.control),
            ("metrics", metrics != running.metrics),
            ("web", web != running.web),
        ]
        return differs.filter(\.differs).map(\.key)
    }
}
