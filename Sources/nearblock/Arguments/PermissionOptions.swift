import ArgumentParser
import Configuration
import Daemon

/// Options for permissions of images and sockets that the node creates.
struct PermissionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp("Mode of images that arrive by migration, as in 0640 (default: 0600).", valueName: "mode"),
        transform: FileMode.ofImage)
    var imageMode: FileMode?
    @Option(
        help: ArgumentHelp("Group of these images (default: the node's group).", valueName: "group"),
        transform: GroupName.init)
    var imageGroup: GroupName?
    @Option(
        help: ArgumentHelp(
            "Mode of Unix sockets for NBD clients, as in 0660 (default: by the umask).", valueName: "mode"),
        transform: FileMode.init)
    var socketMode: FileMode?
    @Option(
        help: ArgumentHelp("Group of these sockets (default: the node's group).", valueName: "group"),
        transform: GroupName.init)
    var socketGroup: GroupName?

    /// Overrides the configuration with the options that were given.
    func apply(to node: inout NodeConfiguration) {
        node.imagePermissions.mode = imageMode?.bits ?? node.imagePermissions.mode
        node.imagePermissions.group = imageGroup?.number ?? node.imagePermissions.group
        node.socketPermissions.mode = socketMode?.bits ?? node.socketPermissions.mode
        node.socketPermissions.group = socketGroup?.number ?? node.socketPermissions.group
    }
}
