#!/usr/bin/env bash
# The small CIFAR-100 study: every method, three seeds, one budget. From the root of the repository:
#     results/cifar100-small/study.sh [JOBS [PART...]]       parts: methods, transfer, resnet18; all unless named
# Finished runs are left alone and interrupted ones go on, so it can be started again at any time.
set -euo pipefail
here=results/cifar100-small transferred=results/cifar100-transfer
export here OMP_NUM_THREADS=1
jobs=${1:-2}
shift || true
parts=" ${*:-methods transfer resnet18} "

run() { # FOLDER SEED METHOD OPTION...
    local folder=$1 seed=$2
    shift 2
    # Weights are not kept in the repository: a teacher without them is trained again, and ends the same.
    case $folder in */teacher-0 | */sftn-teacher-0) [ -e "$folder/teacher.safetensors" ] || rm -rf "$folder" ;; esac
    [ -e "$folder/results.json" ] || docendo train "$@" --data ../shared/data/cifar100 --image-size 16 --epochs 30 \
        --set data.train_images=10000 --set data.validation=0.04 --seed "$seed" --out "$folder" --resume > /dev/null
}
export -f run

line() { # The options of one method; $1 its name, $2 the seed.
    case $1 in
        kd | at | sokd | fitnet) echo "$here/$1-$2 $2 $1 --teacher $here/teacher-0/teacher.safetensors --student resnet8" ;;
        sftn) echo "$here/sftn-$2 $2 kd --teacher $here/sftn-teacher-0/teacher.safetensors --student resnet8" ;;
        collaborative_teaching)
            echo "$here/$1-$2 $2 $1 --expert $here/teacher-0/teacher.safetensors --scratch wrn_10_2 --student resnet8" ;;
        dml) echo "$here/$1-$2 $2 $1 --peer wrn_10_2 --student resnet8" ;;
        rocket_launching) echo "$here/$1-$2 $2 $1 --scratch wrn_10_2 --student resnet8" ;;
        *) echo "$here/$1-$2 $2 $1 --student resnet8" ;;
    esac
}

{
    echo "$here/teacher-0 0 plain --set role=teacher --teacher wrn_10_2"
    echo "$here/sftn-teacher-0 0 sftn --teacher wrn_10_2 --student resnet8"
} | xargs -P "$jobs" -I{} bash -c 'run {}'
methods() { # all that the five papers compare
    for seed in 0 1 2; do
        for method in plain kd sftn sokd collaborative_teaching tolerant_teacher teskd dml at ban byot fitnet \
            rocket_launching label_smoothing confidence_penalty; do
            line $method $seed
        done
    done
}

transfer() { # from the ordinary teacher and from the one that SFTN made; at, fitnet and kd are among the methods above
    local options="--student resnet8 --teacher $here"
    for method in at fitnet dkd dist logit_mse mlkd deit sp rkd vid pkt cc crd nst reviewkd fsp ofd simkd sskd; do
        for seed in 0 1 2; do
            case $method in
                at | fitnet) ;;
                *) echo "$transferred/$method-$seed $seed $method $options/teacher-0/teacher.safetensors" ;;
            esac
            echo "$transferred/${method}_from_sftn-$seed $seed $method $options/sftn-teacher-0/teacher.safetensors"
        done
    done
}

resnet18() { # TESKD as in its paper, on a ResNet18, here a narrow one
    for seed in 0 1 2; do
        echo "$here/plain_ResNet18w16-$seed $seed plain --student ResNet18w16"
        echo "$here/teskd_ResNet18w16-$seed $seed teskd --student ResNet18w16"
    done
}

for part in methods transfer resnet18; do
    [[ $parts != *" $part "* ]] || $part
done | xargs -P "$jobs" -I{} bash -c 'run {}'
