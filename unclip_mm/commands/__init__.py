"""The commands of ``unclip-mm``, one file each; heavy libraries are imported only when a command runs."""
