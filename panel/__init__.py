"""Pages and jobs that need several apps at once; owns no rule of its own."""
