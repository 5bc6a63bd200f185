module github.com/tanist-ha/tanist

go 1.26
