"""Where what is measured comes from: the health sources by kind."""
