"""Running a suite: planning, executing, writing records."""
