import Block
import Daemon
import Glibc
import NBDServer
import Peer
import TLS

/// Looks at the files, directories, certificates and host names that a configuration names. Opens for reading only.
struct FilesOfNode {
    /// A fault of something that a key names.
    struct Problem {
        let error: ConfigurationError
        let isMistake: Bool
    }

    let node: NodeConfiguration
    let file: KeyFile
    /// The service that runs the node; nil if none does.
    let service: ServiceUnit?

    /// Blocks the thread, for host names perhaps for seconds.
    func problems() -> [Problem] {
        images() + directories() + sockets() + hosts() + certificates()
    }

    private func problem(_ text: String, _ key: String, in section: String = "node", isMistake: Bool = true) -> Problem
    {
        Problem(error: file.mistake(": \(text)", key, in: section), isMistake: isMistake)
    }

    private func images() -> [Problem] {
        node.exports.flatMap { export -> [Problem] in
            // An empty path is a mistake of the file already.
            guard !export.backing.isEmpty else { return [] }
            let section = ConfigurationFile.section(of: export)
            let hidden =
                NBDClientImage.isURI(export.backing)
                ? nil : inSandbox(export.backing, writes: !export.isReadOnly, isDirectory: false)
            return ImageCheck(export: export).problems().map {
                problem($0.text, "image", in: section, isMistake: $0.isMistake)
            } + (hidden.map { [problem($0, "image", in: section)] } ?? [])
        }
    }

    private func directories() -> [Problem] {
        func check(_ key: String, _ path: String?) -> [Problem] {
            guard let path, file.keys(of: "node").contains(key) else { return [] }
            let found =
                PathCheck.problem(withDirectory: path, made: service?.madeDirectories ?? [])
                ?? inSandbox(path, writes: true, isDirectory: true)
            return found.map { [problem($0, key)] } ?? []
        }
        var problems = check("images", node.images) + check("state", node.state)
        if let index = node.index, access(index, F_OK) != 0 {
            let text = "there is no \(index); make it with nearblock index add --index \(index) IMAGE"
            problems.append(problem(text, "index", isMistake: false))
        } else {
            problems += check("index", node.index)
        }
        if let memory = node.memoryDirectory {
            problems += PathCheck.problem(withSharedDirectory: memory).map { [problem($0, "memory-dir")] } ?? []
        }
        return problems
    }

    private func inSandbox(_ path: String, writes: Bool, isDirectory: Bool) -> String? {
        guard path.hasPrefix("/") else { return nil }
        return service?.sandbox.problem(with: path, writes: writes, isDirectory: isDirectory)
    }

    private func sockets() -> [Problem] {
        let paths = node.listen.compactMap { address -> (String, String)? in
            if case .unix(let path) = address { ("socket", path) } else { nil }
        }
        return (paths + (node.control.map { [("control", $0)] } ?? [])).compactMap { key, path in
            PathCheck.problem(withSocket: path, made: service?.madeDirectories ?? []).map { problem($0, key) }
        }
    }

    private func hosts() -> [Problem] {
        let listen = node.listen.compactMap { address -> (String, String)? in
            if case .tcp(let host, _) = address { ("listen", host) } else { nil }
        }
        return (listen + (node.peerListen.map { [("peer-listen", $0.host)] } ?? [])).compactMap { key, host in
            PathCheck.problem(withHost: host).map { problem($0, key) }
        }
    }

    private func certificates() -> [Problem] {
        var problems: [Problem] = []
        if let tls = node.tls, tls.mode != .off {
            do {
                try tls.check()
                problems += details(tls.files, "tls")
            } catch { problems.append(problem("\(error)", "tls")) }
        }
        if let directory = node.peerTLS {
            do {
                _ = try PeerCertificates(directory: directory)
                problems += [TLSSide.server, .client].flatMap {
                    details(TLSFiles(directory: directory, side: $0), "peer-tls")
                }
            } catch { problems.append(problem("\(error)", "peer-tls")) }
        }
        var known: Set<String> = []
        return problems.filter { known.insert($0.error.description).inserted }
    }

    private func details(_ files: TLSFiles, _ key: String) -> [Problem] {
        files.problems().map { problem($0.description, key, isMistake: $0.isFault) }
    }
}
