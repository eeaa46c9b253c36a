"""Running a program many times: twice to compare, often to find a failure, fewer times to make it small."""
