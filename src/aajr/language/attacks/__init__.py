"""The attacks on chats, one file each."""
