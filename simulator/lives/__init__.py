"""Programs of a simulation that crash and begin anew, and the disks that outlive them."""
