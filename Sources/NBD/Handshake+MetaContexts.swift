/// The options about metadata contexts. Protocol text, "Metadata querying".
extension Handshake {
    mutating func answerListMetaContext(
        _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) {
        let type = Option.listMetaContext.rawValue
        guard let (export, queries) = metaContextRequest(type, payload, output: &output, catalog: catalog) else {
            return
        }
        for context in MetaContext.all(of: export) {
            let isWanted =
                queries.isEmpty || queries.contains { context.matches($0, acceptsWildcard: true) }
            if isWanted { replyContext(context, id: 0, to: type, output: &output) }
        }
        reply(.acknowledge, to: type, output: &output)
    }

    mutating func answerSetMetaContext(
        _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) {
        let type = Option.setMetaContext.rawValue
        forgetContexts()
        guard let (export, queries) = metaContextRequest(type, payload, output: &output, catalog: catalog) else {
            return
        }
        contextExport = export.name
        contexts = MetaContext.all(of: export).filter { context in
            queries.contains { context.matches($0, acceptsWildcard: false) }
        }
        for context in contexts { replyContext(context, id: context.id, to: type, output: &output) }
        reply(.acknowledge, to: type, output: &output)
    }

    /// Parses the export and the queries of an option; replies with an error and returns nil if that fails.
    mutating func metaContextRequest(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> (ExportDescription, [String])? {
        guard style != .simple else {
            reply(.invalid, to: type, text: "ask for structured replies first", output: &output)
            return nil
        }
        guard let (name, queries) = Self.parseMetaContextRequest(payload) else {
            reply(.invalid, to: type, text: "malformed request for contexts", output: &output)
            return nil
        }
        guard let export = openExport(named: name, for: type, output: &output, catalog: catalog) else { return nil }
        return (export, queries)
    }

    static func parseMetaContextRequest(_ payload: ArraySlice<UInt8>) -> (String, [String])? {
        var reader = ByteReader(payload)
        guard let name = reader.prefixedString(), let count: UInt32 = reader.integer() else { return nil }
        var queries: [String] = []
        for _ in 0..<count {
            guard let query = reader.prefixedString() else { return nil }
            queries.append(query)
        }
        return reader.isAtEnd ? (name, queries) : nil
    }

    mutating func replyContext(_ context: MetaContext, id: UInt32, to type: UInt32, output: inout [UInt8]) {
        var out = ByteWriter()
        out.append(id)
        out.append(context.name)
        reply(.metaContext, to: type, payload: out.bytes, output: &output)
    }

    mutating func forgetContexts() {
        contexts = []
        contextExport = nil
    }
}
