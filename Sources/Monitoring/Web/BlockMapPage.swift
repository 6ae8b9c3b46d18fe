/// The page that shows the blocks of a node's disks. Its files are in the program.
public enum BlockMapPage {
    /// Headers of every answer: the page uses nothing but its own files, and no other page may show it.
    public static let headers = [
        (
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
                + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
        ),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
    ]

    /// Makes the routes.
    /// - Parameter events: called for each client; gives a JSON text for each moment.
    public static func routes(events: @escaping @Sendable () -> AsyncStream<String>) -> [WebRoute] {
        [
            file("/", "text/html; charset=utf-8", PackageResources.page_html),
            file("/page.css", "text/css; charset=utf-8", PackageResources.page_css),
            file("/page.js", "text/javascript; charset=utf-8", PackageResources.page_js),
            file("/icon.svg", "image/svg+xml", PackageResources.icon_svg),
            WebRoute("/events") { .events(events()) },
        ]
    }

    private static func file(_ path: String, _ mediaType: String, _ bytes: [UInt8]) -> WebRoute {
        WebRoute(path) { .document(mediaType: mediaType, body: bytes) }
    }
}
