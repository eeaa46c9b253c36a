"""Running a program many times: twice to compare, often to find a failure, less to make it small."""
