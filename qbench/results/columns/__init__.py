"""Types that declare a number of a record, and the numbers of layers."""
