"""What others serve over HTTP: read with limits, and never led astray."""
