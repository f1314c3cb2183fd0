"""Raw releases in, session files out; the only modules that know a release's format."""
