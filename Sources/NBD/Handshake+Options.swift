/// The options but those about one export: what each is answered. Protocol text, "Option types".
extension Handshake {
    /// Whether this client may be told anything.
    var isOpen: Bool { isSecure || tls != .required }

    /// Whether this client may be told about the export.
    func isOpen(_ export: ExportDescription) -> Bool { isSecure || !export.requiresTLS }

    mutating func answer(
        _ type: UInt32, _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> Progress {
        let option = Option(rawValue: type)
        guard isOpen || option == .startTLS || option == .abort else {
            // EXPORT_NAME is the one option without an error reply.
            guard option != .exportName else { return end(refusing: .needsTLS) }
            refused = .needsTLS
            reply(.tlsRequired, to: type, text: "this server requires TLS", output: &output)
            return .needsMore
        }
        switch option {
        case .exportName:
            return answerExportName(payload, output: &output, catalog: catalog)
        case .abort:
            reply(.acknowledge, to: type, output: &output)
            return end(.close)
        case .list:
            answerList(payload, catalog: catalog, output: &output)
        case .startTLS:
            return answerStartTLS(payload, output: &output)
        case .info, .go:
            return answerInformation(type, payload, output: &output, catalog: catalog)
        case .structuredReply, .extendedHeaders:
            answerStyle(option == .extendedHeaders ? .extended : .structured, for: type, payload, output: &output)
        case .listMetaContext:
            answerListMetaContext(payload, output: &output, catalog: catalog)
        case .setMetaContext:
            answerSetMetaContext(payload, output: &output, catalog: catalog)
        case nil:
            reply(.unsupported, to: type, text: "option not supported", output: &output)
        }
        return .needsMore
    }

    /// Returns the name of the export whose size the answer tells; nil if the answer tells none.
    func chosenName(_ type: UInt32, _ payload: ArraySlice<UInt8>) -> String? {
        guard isOpen else { return nil }
        switch Option(rawValue: type) {
        case .exportName:
            var reader = ByteReader(payload)
            return payload.count <= Wire.maximumString ? reader.string(count: payload.count) : nil
        case .info, .go: return Self.parseInformationRequest(payload)?.0
        default: return nil
        }
    }

    /// Answers EXPORT_NAME. The connection ends if there is no such export, since the option has no error reply.
    mutating func answerExportName(
        _ payload: ArraySlice<UInt8>, output: inout [UInt8], catalog: some ExportCatalog
    ) -> Progress {
        var reader = ByteReader(payload)
        // The reply has no 64-bit form, so a client that has asked for extended headers may not use this option.
        guard refusal == nil else { return end(refusing: .unavailable) }
        guard style != .extended, payload.count <= Wire.maximumString, let name = reader.string(count: payload.count)
        else { return end(refusing: .malformed) }
        guard let export = catalog.export(named: name) else { return end(refusing: .unknownExport) }
        guard isOpen(export) else { return end(refusing: .needsTLS) }
        switch catalog.admission(to: export) {
        case .granted: break
        case .refused: return end(refusing: .full)
        case .undecided: return .needsAdmission
        }
        var out = ByteWriter()
        out.append(export.size)
        out.append(export.flags(style).rawValue)
        if sendsZeroes { out.appendZeros(124) }
        output += out.bytes
        return end(.transmission(negotiation(export)))
    }

    mutating func answerList(
        _ payload: ArraySlice<UInt8>, catalog: some ExportCatalog, output: inout [UInt8]
    ) {
        let type = Option.list.rawValue
        guard payload.isEmpty else { return reply(.invalid, to: type, text: "LIST takes no data", output: &output) }
        guard let exports = catalog.exports() else {
            return reply(.policy, to: type, text: "this server lists no exports", output: &output)
        }
        state = .listing(exports, named: 0)
    }

    /// Sends the names of exports until all are sent or the output is long enough.
    /// - Returns: whether all are sent.
    mutating func list(_ exports: [ExportDescription], from first: Int, output: inout [UInt8]) -> Bool {
        let type = Option.list.rawValue
        let enough = output.count + Wire.enoughOutput
        for index in first..<exports.count {
            guard output.count < enough else {
                state = .listing(exports, named: index)
                return false
            }
            let export = exports[index]
            // nbd-server, too, hides an export that needs TLS from a client in the clear.
            guard isOpen(export) else { continue }
            var item = ByteWriter()
            item.append(UInt32(export.name.utf8.count))
            item.append(export.name)
            item.append(export.text)
            reply(.server, to: type, payload: item.bytes, output: &output)
        }
        reply(.acknowledge, to: type, output: &output)
        state = .option
        return true
    }

    mutating func answerStartTLS(_ payload: ArraySlice<UInt8>, output: inout [UInt8]) -> Progress {
        let type = Option.startTLS.rawValue
        if tls == .off {
            reply(.policy, to: type, text: "this server has no TLS", output: &output)
        } else if isSecure || !payload.isEmpty {
            let text = isSecure ? "TLS is on already" : "STARTTLS takes no data"
            reply(.invalid, to: type, text: text, output: &output)
        } else {
            reply(.acknowledge, to: type, output: &output)
            isSecure = true
            style = .simple
            forgetContexts()
            return .startTLS
        }
        return .needsMore
    }

    mutating func answerStyle(
        _ wanted: HeaderStyle, for type: UInt32, _ payload: ArraySlice<UInt8>, output: inout [UInt8]
    ) {
        guard payload.isEmpty else {
            return reply(.invalid, to: type, text: "the option takes no data", output: &output)
        }
        guard style != .extended || wanted == .extended else {
            return reply(.extendedHeadersRequired, to: type, text: "extended headers are on already", output: &output)
        }
        style = wanted
        reply(.acknowledge, to: type, output: &output)
    }
}
