//! Forgetting resource names, so that agents that make up ever new ones do not make the pool grow.

use std::collections::BTreeSet;

use crate::Allocator;
use crate::amounts::{Amounts, NameId};

impl Allocator {
    /// Forgets names that nothing mentions any more, once it is likely that there are some. To be called where an
    /// event begins, when nobody has amounts in hand.
    ///
    /// Walks the whole state, once every time that twice as many names came in as there are in use.
    pub(crate) fn forget_unused_names(&mut self) {
        if self.pool.is_crowded() {
            let used = self.used_names();
            self.pool.forget(&used);
        }
    }

    pub(crate) fn used_names(&self) -> BTreeSet<NameId> {
        let mut used: BTreeSet<NameId> = self.minimums.names().collect();
        let mut add = |amounts: &Amounts| used.extend(amounts.iter().map(|(name, _)| name));
        // Whoever holds something is below the root of that tree, with names that agents may have no more.
        add(self.role_sorter.held_by_all());
        for (_, agent) in &self.agents {
            add(&agent.amounts);
            add(&agent.free);
            agent.held.values().for_each(|held| add(&held.allocated));
        }
        for (_, role) in &self.roles {
            add(role.sorter.held_by_all());
            add(&role.held);
            add(&role.allocated);
        }
        self.reservations.values().for_each(&mut add);
        self.ledger.amounts().for_each(&mut add);
        used.extend(self.ledger.iter().flat_map(|(_, account)| account.limited()));
        used
    }
}

#[cfg(test)]
mod tests {
    use api::resources::Resources;
    use api::v1::{AgentId, AgentInfo, FrameworkId, FrameworkInfo};
    use libprocess::Time;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    use crate::{Allocator, FrameworkOptions, Options};

    #[test]
    fn an_agent_that_makes_up_names_does_not_make_the_pool_grow() {
        let mut allocator = Allocator::new(Options::default());
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let framework = FrameworkId::from("f");
        let info = FrameworkInfo::default();
        allocator.add_framework(&framework, &info, &[], true, &FrameworkOptions::default()).unwrap();
        let total =
            |n: u32| Resources::parse(&format!("cpus:1;mem:100;x{n}:1;y{n}:2;z{n}(r):1"), "*").unwrap();
        let agent = |n: u32| AgentId::from(format!("a{n}"));
        for n in 0..300 {
            allocator.add_agent(&agent(n), &AgentInfo::default(), &[], None, total(n), &[]).unwrap();
            assert_eq!(allocator.cycle(Time::EPOCH, &mut rng).n_offers(), 1);
            allocator.check_invariants().unwrap();
            // What is offered is not there any more, and the framework gives it back after the agent has changed.
            let info = AgentInfo { hostname: "h".to_owned(), ..AgentInfo::default() };
            allocator.update_agent(&agent(n), &info, Some(total(n + 1)), None).unwrap();
            allocator.check_invariants().unwrap();
            allocator.remove_agent(&agent(n)).unwrap();
        }
        assert_eq!(allocator.scalars().count(), 0);
        let known = (0..300).filter(|n| allocator.pool.find(&format!("x{n}").as_str().into()).is_some());
        assert!(known.count() < 40);
    }
}
