/// The options INFO and GO: what a client learns of an export, and how it chooses one.
extension Handshake {
    mutating func answerInformation(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> Progress {
        guard let (name, wanted) = Self.parseInformationRequest(payload) else {
            reply(.invalid, to: type, text: "malformed request for an export", output: &output)
            return .needsMore
        }
        guard let export = openExport(named: name, for: type, output: &output, catalog: catalog) else {
            return .needsMore
        }
        if let refusal {
            refused = .unavailable
            reply(.unknownExport, to: type, text: refusal, output: &output)
            return .needsMore
        }
        let isChoice = type == Option.go.rawValue
        switch isChoice ? catalog.admission(to: export) : .granted {
        case .granted: break
        case .undecided: return .needsAdmission
        case .refused:
            refused = .full
            reply(.policy, to: type, text: "the export has its maximum number of clients", output: &output)
            return .needsMore
        }
        refused = nil
        for item in information(on: export, wanted) { reply(.information, to: type, payload: item, output: &output) }
        reply(.acknowledge, to: type, output: &output)
        return isChoice ? end(.transmission(negotiation(export))) : .needsMore
    }

    /// Finds the export that an option names; replies with an error and returns nil if the client can't have it.
    mutating func openExport(
        named name: String, for type: UInt32, output: inout [UInt8], catalog: some ExportCatalog
    ) -> ExportDescription? {
        guard let export = catalog.export(named: name) else {
            refused = .unknownExport
            reply(.unknownExport, to: type, text: "no such export", output: &output)
            return nil
        }
        guard isOpen(export) else {
            refused = .needsTLS
            reply(.tlsRequired, to: type, text: "this export requires TLS", output: &output)
            return nil
        }
        return export
    }

    static func parseInformationRequest(_ payload: ArraySlice<UInt8>) -> (String, Set<UInt16>)? {
        var reader = ByteReader(payload)
        guard let name = reader.prefixedString(), let count: UInt16 = reader.integer() else { return nil }
        var wanted: Set<UInt16> = []
        for _ in 0..<count {
            guard let item: UInt16 = reader.integer() else { return nil }
            wanted.insert(item)
        }
        return reader.isAtEnd ? (name, wanted) : nil
    }

    /// Size, flags and block sizes are always sent: a client may use them without having asked.
    func information(on export: ExportDescription, _ wanted: Set<UInt16>) -> [[UInt8]] {
        var items: [[UInt8]] = []
        func add(_ type: Information, _ fill: (inout ByteWriter) -> Void) {
            var out = ByteWriter()
            out.append(type.rawValue)
            fill(&out)
            items.append(out.bytes)
        }
        add(.export) {
            $0.append(export.size)
            $0.append(export.flags(style).rawValue)
        }
        add(.blockSize) {
            $0.append(UInt32(1))
            $0.append(Wire.preferredBlockSize)
            $0.append(UInt32(Wire.maximumPayload))
        }
        if wanted.contains(Information.name.rawValue) { add(.name) { $0.append(export.name) } }
        if wanted.contains(Information.description.rawValue), !export.text.isEmpty {
            add(.description) { $0.append(export.text) }
        }
        return items
    }
}
