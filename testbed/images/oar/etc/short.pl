if ($queue_name eq "short") {
    foreach my $mold (@{$ref_resource_list}) {
        $mold->[1] = 600 if (!defined($mold->[1]));
        die("[ADMISSION RULE] ERROR: the walltime of the queue short is at most 600 s\n") if ($mold->[1] > 600);
    }
}
